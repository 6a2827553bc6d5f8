//! Makes releases of the data sets that were declared here, and counts what they cost.
//!
//! ```text
//! known ─► the same again
//! reserve (fsynced) ─► make: read the rows, draw the noise ─► keep (fsynced) ─► it leaves
//! ```
//!
//! Killed anywhere, nothing has left that is not paid for and kept: before *reserve* nothing was spent; after it the same
//! request goes on without paying again; after *keep* it is answered by the very same release.
//!
//! **Invariant:** between two changes of the ledger nobody sees it, and none that is not on disk is built upon.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use shoal_protocol::api::{BudgetView, DatasetView, schema};
use shoal_protocol::audit::Happening;
use shoal_protocol::privacy::accounting::{Measure, epsilon_of};
use shoal_protocol::privacy::bits::{BitSource, Bits};
use shoal_protocol::privacy::declaration::Terms;
use shoal_protocol::privacy::ledger::{Ledger, Reserved, Standing};
use shoal_protocol::privacy::query::{Measurement, RequestId};
use shoal_protocol::privacy::rows::Rows;
use shoal_protocol::privacy::words::Ask;
use shoal_protocol::privacy::{Decimal, Declaration, Noise, Query, Refused, Release};
use shoal_protocol::task::spec::Payload;
use shoal_protocol::{BlobId, PeerId};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::disk::{self, Disk, File};
use crate::audit::Audit;
use crate::blobs::BlobStore;
use crate::driver::unix_time;

/// Releases that are made at a time: each reads its rows on a thread of its own, with up to 16 MiB for their subjects.
const MAKING_MAX: usize = 2;
/// Releases that wait for that.
const WAITING_MAX: usize = 64;
/// Rows are read in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;
/// Digits behind the point of an ε that people are told.
const EPSILON_PLACES: u32 = 6;

/// This peer as a keeper. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Keeper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    me: PeerId,
    blobs: BlobStore,
    audit: Audit,
    /// Locked while the disk is written: never on the network's or the driver's thread.
    books: Mutex<Books>,
    making: Semaphore,
    waiting: Semaphore,
}

#[derive(Debug)]
struct Books {
    disk: Box<dyn Disk>,
    /// As it is on disk; nothing where that is not known, and has to be read.
    ledger: Option<Ledger>,
}

/// A request that can be answered here.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    terms: Terms,
    query: Query,
    noise: Noise,
    rows: Vec<Piece>,
    pub(super) request: RequestId,
}

/// Rows, or where they are.
#[derive(Debug, Clone)]
enum Piece {
    Here(Bytes),
    Blob(BlobId),
}

/// The operating system's randomness.
struct SystemBits;

impl BitSource for SystemBits {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        getrandom::fill(bytes).map_err(|error| error.to_string())
    }
}

fn trouble(why: impl ToString) -> Refused {
    Refused::Trouble { why: why.to_string() }
}

impl Keeper {
    pub(crate) fn open(dir: &Path, me: PeerId, blobs: BlobStore, audit: Audit) -> Self {
        Self::with_disk(Box::new(File::within(dir)), me, blobs, audit)
    }

    pub(super) fn with_disk(disk: Box<dyn Disk>, me: PeerId, blobs: BlobStore, audit: Audit) -> Self {
        Self(Arc::new(Inner {
            me,
            blobs,
            audit,
            books: Mutex::new(Books { disk, ledger: None }),
            making: Semaphore::new(MAKING_MAX),
            waiting: Semaphore::new(WAITING_MAX),
        }))
    }

    // ── What is asked of it ─────────────────────────────────────────────────────────────────────────────────────

    /// Declares a data set; the same again changes nothing.
    pub(crate) async fn declare(&self, declared: Declaration) -> Result<DatasetView, Refused> {
        self.on_thread(move |keeper| {
            let name = declared.name.clone();
            keeper.change(|ledger| ledger.declare(declared, now_unix_s()).map(|is_new| ((), is_new)))?;
            let views = keeper.views()?;
            views.into_iter().find(|view| view.declared.name == name).ok_or_else(|| trouble("it was not kept"))
        })
        .await
    }

    /// Every data set that is declared here, and what is left of its budget.
    pub(crate) async fn standings(&self) -> Result<Vec<DatasetView>, Refused> {
        self.on_thread(|keeper| keeper.views()).await
    }

    /// The answer, if the same was asked before: its rows are not needed for that.
    pub(crate) async fn known(&self, asker: PeerId, ask: Ask) -> Result<Option<Release>, Refused> {
        let dataset = named(&ask);
        let found = self.on_thread(move |keeper| {
            let wanted = keeper.wanted(ask)?;
            keeper.read(|ledger| ledger.known(wanted.request).cloned())
        });
        let found = found.await;
        if let Err(refused) = &found {
            self.0.audit.note(Happening::StatisticRefused { dataset, asker, why: refused.to_string() });
        }
        found
    }

    /// Answers, and writes down that it did; blobs that are named are here.
    pub(crate) async fn release(&self, asker: PeerId, ask: Ask) -> Result<Release, Refused> {
        let busy = || Refused::Busy { limit: (MAKING_MAX + WAITING_MAX) as u64 };
        let _place = self.0.waiting.try_acquire().map_err(|_| busy())?;
        let _turn = self.0.making.acquire().await.map_err(|_| busy())?;
        let dataset = named(&ask);
        let released = self.on_thread(move |keeper| keeper.release_now(ask)).await;
        self.0.audit.note(match &released {
            Ok(release) => Happening::StatisticReleased {
                dataset,
                request: release.request.to_string(),
                query: release.query.to_string(),
                asker,
                epsilon: release.epsilon.to_string(),
                rho: release.rho.map(|rho| rho.to_string()),
            },
            Err(refused) => Happening::StatisticRefused { dataset, asker, why: refused.to_string() },
        });
        released
    }

    fn release_now(&self, ask: Ask) -> Result<Release, Refused> {
        let wanted = self.wanted(ask)?;
        if let Some(known) = self.reserve(&wanted)? {
            return Ok(known);
        }
        let made = self.make(&wanted)?;
        self.keep(made)
    }

    // ── The steps ───────────────────────────────────────────────────────────────────────────────────────────────

    /// What exactly is asked, if it can be asked here at all.
    pub(super) fn wanted(&self, ask: Ask) -> Result<Wanted, Refused> {
        let Ask { dataset, query, noise, data } = ask;
        let terms = self.read(|ledger| ledger.terms(&dataset))??;
        Measurement::new(&terms, query.clone(), noise)?;
        let mut rows: Vec<Piece> = data
            .into_iter()
            .map(|payload| match payload {
                Payload::Inline(bytes) => Piece::Here(bytes),
                Payload::Blob(blob) => Piece::Blob(blob.id),
            })
            .collect();
        let given = version_of(&rows);
        let version = match (terms.declared.data, given) {
            (Some(declared), Some(given)) if declared != given => {
                let why = format!("it names {}, and {} was handed in", declared.short(), given.short());
                return Err(Refused::OtherData { name: dataset, why });
            }
            (Some(declared), _) => {
                rows = vec![Piece::Blob(declared)];
                declared
            }
            (None, Some(given)) => given,
            (None, None) => {
                return Err(Refused::BadQuery { why: "the data set names no rows: hand them in with --data".into() });
            }
        };
        let request = RequestId::of(&terms, version, &query, noise);
        Ok(Wanted { terms, query, noise, rows, request })
    }

    /// Pays for it, unless that was done before; or the answer that was given then.
    pub(super) fn reserve(&self, wanted: &Wanted) -> Result<Option<Release>, Refused> {
        let measurement = Measurement::new(&wanted.terms, wanted.query.clone(), wanted.noise)?;
        let is_missing = |piece: &Piece| matches!(piece, Piece::Blob(id) if self.0.blobs.stat(*id).is_none());
        let is_known = self.read(|ledger| ledger.known(wanted.request).is_some())?;
        if !is_known && wanted.rows.iter().any(is_missing) {
            // Nothing is paid for rows that cannot be read.
            return Err(Refused::BadQuery { why: "its rows are not in the store of the peer that keeps it".into() });
        }
        let (name, cost, figures) = (&wanted.terms.declared.name, measurement.cost(), measurement.figures());
        let reserved = self.change(|ledger| {
            let reserved = ledger.reserve(wanted.request, name, cost, figures, now_unix_s())?;
            let is_new = reserved == Reserved::Paid { is_new: true };
            Ok((reserved, is_new))
        })?;
        Ok(match reserved {
            Reserved::Known(release) => Some(*release),
            Reserved::Paid { .. } => None,
        })
    }

    /// Reads the rows and blurs what they add up to. Nobody has seen it yet.
    pub(super) fn make(&self, wanted: &Wanted) -> Result<Release, Refused> {
        let measurement = Measurement::new(&wanted.terms, wanted.query.clone(), wanted.noise)?;
        let mut reading = Rows::new(&measurement);
        for piece in &wanted.rows {
            match piece {
                Piece::Here(bytes) => reading.feed(bytes)?,
                Piece::Blob(id) => self.feed(*id, &mut reading)?,
            }
        }
        let figures = reading.end()?.blur(&mut Bits::of(&mut SystemBits)).map_err(trouble)?;
        Ok(Release::new(self.0.me, wanted.request, &measurement, figures))
    }

    fn feed(&self, id: BlobId, reading: &mut Rows<'_>) -> Result<(), Refused> {
        let mut blob = self.0.blobs.open_read(id).map_err(trouble)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = blob.read(&mut piece).map_err(trouble)?;
            if read == 0 {
                return Ok(());
            }
            reading.feed(piece.get(..read).unwrap_or_default())?;
        }
    }

    /// Writes it down; what stands there afterwards is the answer, whoever made it.
    pub(super) fn keep(&self, release: Release) -> Result<Release, Refused> {
        self.change(|ledger| ledger.keep(release).map(|kept| (kept, true)))
    }

    // ── The books ───────────────────────────────────────────────────────────────────────────────────────────────

    fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> Result<T, Refused> {
        let mut books = self.0.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.ledger().map(look)
    }

    /// Changes the ledger; returns when the change is on disk, where there was one.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> Result<(T, bool), Refused>) -> Result<T, Refused> {
        let mut books = self.0.books.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = books.ledger()?.clone();
        let (answer, has_changed) = change(&mut next)?;
        if has_changed {
            // What is on disk after an error is not known: it is read again before the next word.
            books.ledger = None;
            disk::save(books.disk.as_ref(), &next).map_err(trouble)?;
            books.ledger = Some(next);
        }
        Ok(answer)
    }

    fn views(&self) -> Result<Vec<DatasetView>, Refused> {
        let me = self.0.me;
        self.read(|ledger| {
            let standings = ledger.standings(now_unix_s());
            let view =
                |(declared, standing, population, releases): (&Declaration, Standing, Option<Standing>, usize)| {
                    DatasetView {
                        schema: schema(),
                        keeper: me,
                        budget: budget_view(&standing),
                        population: population.as_ref().map(budget_view),
                        releases: releases as u64,
                        declared: declared.clone(),
                    }
                };
            standings.into_iter().map(view).collect()
        })
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let keeper = self.clone();
        spawn_blocking(move || work(&keeper)).await.unwrap_or_else(|error| Err(trouble(error)))
    }
}

impl Books {
    fn ledger(&mut self) -> Result<&Ledger, Refused> {
        let ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => disk::load(self.disk.as_ref()).map_err(trouble)?,
        };
        Ok(self.ledger.insert(ledger))
    }
}

/// The data set that is asked about, whatever it is called.
fn named(ask: &Ask) -> String {
    ask.dataset.chars().take(80).collect()
}

/// Which rows these are: a blob's name, or that of the names of all pieces.
fn version_of(rows: &[Piece]) -> Option<BlobId> {
    let id_of = |piece: &Piece| match piece {
        Piece::Here(bytes) => BlobId::of(bytes),
        Piece::Blob(id) => *id,
    };
    match rows {
        [] => None,
        [one] => Some(id_of(one)),
        several => Some(BlobId::of(&several.iter().flat_map(|piece| id_of(piece).0).collect::<Vec<u8>>())),
    }
}

fn budget_view(standing: &Standing) -> BudgetView {
    let told = |amount, delta| Decimal::above(epsilon_of(amount, delta), EPSILON_PLACES);
    let spent_epsilon = match (standing.budget.measure, standing.budget.delta) {
        (Measure::Rho, Some(delta)) => Some(told(standing.spent, delta)),
        (Measure::Epsilon, _) | (Measure::Rho, None) => None,
    };
    BudgetView {
        measure: standing.budget.measure,
        limit: standing.budget.limit.decimal(),
        spent: standing.spent.decimal(),
        left: standing.left.decimal(),
        delta: standing.budget.delta,
        spent_epsilon,
        ends_in_s: standing.ends_in_s,
    }
}

fn now_unix_s() -> u64 {
    unix_time().as_secs()
}
