//! Bounds of what peers and strangers can make this node hold, and the patience it has with them.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use shoal_protocol::config::MESSAGE_BYTES_MAX;

/// Time that both sides of a new connection have to greet.
pub(super) const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// The first frame: a version and a number.
pub(super) const GREETING_BYTES_MAX: usize = 1024;
/// Connections beyond those of neighbours: with members that have not greeted, and such as are sorted out.
pub(super) const CONNECTIONS_TO_SPARE: u32 = 32;
/// Dials under way.
pub(super) const PENDING_OUTGOING_MAX: u32 = 64;
/// Connections with one peer while duplicates and dead ones of earlier runs are sorted out.
pub(super) const CONNECTIONS_PER_PEER_MAX: u32 = 6;

/// Bytes waiting for one neighbour, besides the batch that is being written.
pub(super) const OUTBOX_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Frames waiting for one neighbour.
pub(super) const OUTBOX_FRAMES_MAX: usize = 32 * 1024;
/// An emptied buffer larger than this is given back.
pub(super) const OUTBOX_BYTES_KEPT: usize = 64 * 1024;

/// Events the driver has not taken; neighbours wait when it is full.
pub(super) const EVENTS_MAX: usize = 512;
/// Events of the swarm's own that wait for room; the rest are dropped and counted.
pub(super) const BACKLOG_MAX: usize = 256;
/// Orders to the swarm that it has not carried out.
pub(super) const COMMANDS_MAX: usize = 1024;
/// Addresses of one dial that are tried.
pub(super) const DIAL_ADDRESSES_MAX: usize = 16;
/// Discovered addresses that are remembered as reported.
pub(super) const DISCOVERED_MAX: usize = 512;

/// How often neighbours tell each other their addresses anew.
pub(super) const IDENTIFY_INTERVAL: Duration = Duration::from_secs(300);

/// Bulk streams this node has open to one neighbour at once; more wait.
pub(crate) const BULK_OUT_MAX: usize = 5;
/// Bulk streams a neighbour may have open to this node; twice [`BULK_OUT_MAX`], since it may close one and open the
/// next before this side has let go of the first.
pub(super) const BULK_IN_MAX: usize = 2 * BULK_OUT_MAX;
/// Time to open a stream beside the control stream; and before that, to wait until another is closed.
pub(super) const STREAM_OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A message this long takes a stream of its own: written to the control stream at 20 Mbit/s it would hold up what is
/// behind it for longer than most frames are on their way.
pub(super) const LONG_BYTES_MIN: usize = 16 * 1024;
/// Long messages on their way to one neighbour, and from it; more wait.
pub(super) const LONG_MAX: usize = 16;
/// Bytes of long messages waiting for one neighbour, those on their way included: as many as the control stream's queue.
pub(super) const LONG_QUEUED_BYTES_MAX: usize = OUTBOX_BYTES_MAX;
/// Time a long message may take: its most bytes at the rate below which blobs are given up, too.
pub(super) const LONG_TIMEOUT: Duration = Duration::from_secs(16);

/// Unread bytes of one stream: 70 Mbit/s at 60 ms.
pub(super) const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
/// Unread bytes of one connection: when every stream of two honest peers stalls, control frames still pass, and when every
/// circuit does.
pub(super) const CONNECTION_WINDOW_BYTES: u32 =
    STREAM_WINDOW_BYTES * (2 * BULK_OUT_MAX + CIRCUITS_PER_PEER_MAX + 2) as u32 + (LONG_MAX * MESSAGE_BYTES_MAX) as u32;
/// Streams of both directions that a peer may hold open: bulk, those of libp2p, and a circuit each that one of the two
/// relays for the other.
pub(super) const STREAMS_MAX: u32 = 26 + 2 * CIRCUITS_PER_PEER_MAX as u32;
/// Streams of one direction that a peer may hold open: the control stream, and long messages. Twice as many of those as
/// it sends at once, since it may be done with one before this side is.
pub(super) const UNI_STREAMS_MAX: u32 = 1 + 2 * LONG_MAX as u32;
/// Datagrams of one connection that wait, to be sent or to be taken; the oldest go. A few heartbeats of a neighbour.
pub(super) const DATAGRAMS_BYTES_MAX: usize = 16 * 1024;
/// A connection without any packet is dead after this. The protocol notices silence much earlier.
pub(super) const CONNECTION_SILENT_MAX: Duration = Duration::from_secs(10);
/// Keeps an idle connection, and the NAT mapping under it, alive.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// A neighbour heard within this time needs no new connection. The protocol pings four times as often.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// A duplicate is retired this long after its successor was admitted here, when it has long been admitted there too.
pub(super) const RETIRE_AFTER: Duration = Duration::from_secs(1);
/// Time a closing connection has to deliver what is queued.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Time the side that was asked to close leaves the asker to close first.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// Time that bulk streams on a retired duplicate have to finish.
pub(super) const BULK_FINISH_MAX: Duration = Duration::from_secs(30);

/// Members that may wait to be called through this node.
pub(super) const RESERVATIONS_MAX: usize = 128;
/// Of one member: a second while one connection replaces another.
pub(super) const RESERVATIONS_PER_PEER_MAX: usize = 2;
/// They are renewed by themselves; one that is not is forgotten after this.
pub(super) const RESERVATION_DURATION: Duration = Duration::from_secs(3_600);
/// Connections that pass through this node at once; each holds at most two stream windows, 64 MiB altogether.
pub(super) const CIRCUITS_MAX: usize = 64;
/// Of them those of one member.
pub(super) const CIRCUITS_PER_PEER_MAX: usize = 16;
/// How long one may last. It is made anew then, at the price of one broken link a day.
pub(super) const CIRCUIT_DURATION_MAX: Duration = Duration::from_secs(24 * 3_600);
/// What one may carry, both ways: a day at 400 kbit/s. Blobs that are cut off are resumed.
pub(super) const CIRCUIT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Reservations, and circuits, that a member may ask for at once; and then one more each…
pub(super) const RELAY_BURST: NonZeroU32 = NonZeroU32::new(32).unwrap();
pub(super) const RELAY_ANOTHER_AFTER: Duration = Duration::from_secs(5);
/// Relays a node behind a NAT keeps: one may die.
pub(super) const RELAYS_USED: usize = 2;
/// A relay that refuses, or is lost, is asked again after this.
pub(super) const RELAY_REST: Duration = Duration::from_secs(10);

/// A neighbour behind a relay is called directly again after this…
pub(super) const CALL_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// …then after twice as long, up to this: NATs change seldom, and each call costs a few datagrams.
pub(super) const CALL_PAUSE_MAX: Duration = Duration::from_secs(600);

/// Addresses under which neighbours see this node that are remembered; behind a symmetric NAT each sees another.
pub(super) const OBSERVED_MAX: usize = 32;
/// What was found out of one is asked again after this; NATs and their owners change their minds.
pub(super) const REACH_GOOD_FOR: Duration = Duration::from_secs(600);
/// A call that has not come after this will hardly come; another second or four are waited nevertheless.
pub(super) const REACH_PATIENCE: Duration = Duration::from_millis(500);
/// How often what follows from it is looked after.
pub(super) const REACH_LOOK: Duration = Duration::from_secs(1);

/// Time that a search for a blob takes at most.
pub(super) const PROVIDERS_QUERY_MAX: Duration = Duration::from_secs(5);
/// Searches under way.
pub(super) const PROVIDERS_QUERIES_MAX: usize = 32;
/// Blobs of which it is said at once that they are here.
pub(super) const PROVIDERS_SAYING_MAX: usize = 4;
/// Holders of one blob that are called because they were found.
pub(super) const PROVIDERS_DIALS_MAX: usize = 2;
/// Blobs whose holders are remembered for the mesh, and this node's own.
pub(super) const PROVIDERS_BLOBS_MAX: usize = 8 * PROVIDED_MAX;
/// Peers that are told who has a blob; the answers of any one of them suffice.
pub(super) const PROVIDERS_REPLICAS: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// Holders that are remembered of one blob, and named to whoever asks.
pub(super) const PROVIDERS_PER_BLOB_MAX: usize = 16;
/// Blobs that this node says it has.
pub(super) const PROVIDED_MAX: usize = 1_024;
/// Who does not say so again after this has it no more.
pub(super) const PROVIDERS_TTL: Duration = Duration::from_secs(5 * 3_600);
/// Said again twice in that time.
pub(super) const PROVIDERS_AGAIN_AFTER: Duration = Duration::from_secs(2 * 3_600);
/// An answer names up to 16 holders and 20 nearer peers.
pub(super) const PROVIDERS_PACKET_BYTES_MAX: usize = 16 * 1024;
