//! The node key: made once, kept in a file only its owner can read, and the name it gives this peer.
//!
//! **Invariant:** a key that others could have read is never used.
//! **Not here:** certificates; those are `shoal_protocol::certificate` and `admission.rs`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libp2p::identity::{Keypair, PublicKey, ed25519};
use shoal_protocol::PeerId;
use zeroize::Zeroizing;

use super::error::{KeyError, KeyLogError, NetworkError};
use crate::small_file;

/// The secret half of a node key.
pub type NodeKey = Zeroizing<[u8; 32]>;

/// Reads the node key, or makes one where there is none yet.
pub fn load_or_create_node_key(path: &Path) -> Result<NodeKey, KeyError> {
    match File::open(path) {
        Ok(file) => load(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(why) => Err(KeyError::Io { action: "read", path: path.into(), why }),
    }
}

fn load(path: &Path, mut file: File) -> Result<NodeKey, KeyError> {
    let read_error = |why| KeyError::Io { action: "read", path: path.into(), why };
    // Of the open file, not of the name: nobody can swap the file between the check and the read.
    let metadata = file.metadata().map_err(read_error)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.into(), mode });
    }
    let mut key = Zeroizing::new([0; 32]);
    if metadata.len() != 32 {
        return Err(KeyError::WrongLength { path: path.into(), bytes: metadata.len() });
    }
    file.read_exact(&mut *key).map_err(read_error)?;
    Ok(key)
}

fn create(path: &Path) -> Result<NodeKey, KeyError> {
    let create_error = |why| KeyError::Io { action: "create", path: path.into(), why };
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).map_err(|error| KeyError::NoEntropy(error.to_string()))?;
    // A half-written key would stop every later start; and its name must survive a power cut: a certificate is issued for it.
    small_file::create(path, &*key, 0o600).map_err(create_error)?;
    Ok(key)
}

/// Removes `SSLKEYLOGFILE` from the environment: the TLS library would write every session's keys there.
///
/// To be called at the start of `main`, before any thread exists; with a second thread running it refuses.
pub fn forget_tls_key_log() -> Result<(), KeyLogError> {
    const VARIABLE: &str = "SSLKEYLOGFILE";
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    let threads = fs::read_dir("/proc/self/task").map(Iterator::count);
    match threads {
        Ok(1) => {}
        Ok(count) => return Err(KeyLogError { why: format!("{count} threads are running already") }),
        Err(error) => return Err(KeyLogError { why: format!("the threads of this process are unknown: {error}") }),
    }
    // SAFETY: changing the environment races only with other threads that read it, and this is the only thread.
    #[allow(unsafe_code)] // there is no safe way to change the environment
    unsafe {
        std::env::remove_var(VARIABLE);
    }
    Ok(())
}

pub(super) fn keypair(node_key: &NodeKey) -> Result<Keypair, NetworkError> {
    // libp2p wipes the bytes it is handed, and keeps its own copy.
    let mut bytes = node_key.clone();
    Keypair::ed25519_from_bytes(&mut *bytes).map_err(|error| NetworkError::BadKey(error.to_string()))
}

/// The name the transport uses for a peer; none when the bytes are not an Ed25519 key.
pub(super) fn to_libp2p(peer: PeerId) -> Option<libp2p::PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&peer.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The peer the transport has authenticated; none when its key is of another kind than Ed25519.
pub(super) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    const IDENTITY: u64 = 0;
    let hash = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    Some(PeerId(key.try_into_ed25519().ok()?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use shoal_protocol::certificate::SecretKey;

    use super::*;

    #[test]
    fn a_peer_id_survives_the_way_through_the_transport() {
        let key = Zeroizing::new([5; 32]);
        let peer = SecretKey::from_bytes(&key).peer();

        let transport = keypair(&key).unwrap().public().to_peer_id();

        assert_eq!(from_libp2p(&transport), Some(peer));
        assert_eq!(to_libp2p(peer), Some(transport));
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");

        let made = load_or_create_node_key(&path).unwrap();
        let loaded = load_or_create_node_key(&path).unwrap();

        assert_eq!(made, loaded);
        assert_ne!(*made, [0; 32]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        load_or_create_node_key(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

        let error = load_or_create_node_key(&path).unwrap_err();

        assert!(matches!(error, KeyError::Exposed { mode: 0o640, .. }), "{error}");
        assert!(error.hint().contains("chmod 600"));
    }

    #[test]
    fn a_damaged_key_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        load_or_create_node_key(&path).unwrap();
        fs::write(&path, b"short").unwrap();

        let error = load_or_create_node_key(&path).unwrap_err();

        assert!(matches!(error, KeyError::WrongLength { bytes: 5, .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }

    /// A test never runs on the only thread of its process, so it forks one that has no other.
    #[test]
    fn the_tls_key_log_is_forgotten_by_a_process_of_one_thread() {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "network::identity::tests::forks_and_forgets_the_tls_key_log"])
            .args(["--ignored", "--test-threads=1", "--nocapture"])
            .env("SSLKEYLOGFILE", "/nonexistent/keys")
            .output()
            .unwrap();

        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{output}{}", String::from_utf8_lossy(&child.stderr));
        assert!(output.contains("1 passed"), "{output}");
    }

    #[test]
    #[ignore = "run by the_tls_key_log_is_forgotten_by_a_process_of_one_thread"]
    #[allow(unsafe_code)] // there is no safe fork
    fn forks_and_forgets_the_tls_key_log() {
        use nix::sys::wait::{WaitStatus, waitpid};
        use nix::unistd::{ForkResult, fork};

        let refused = forget_tls_key_log().unwrap_err();
        assert_eq!(refused.why, "2 threads are running already");
        // SAFETY: the other thread of this process only waits for this one, so it holds no lock the child may want.
        let fork = unsafe { fork() }.unwrap();
        let ForkResult::Parent { child } = fork else {
            let forgotten = forget_tls_key_log().is_ok() && std::env::var_os("SSLKEYLOGFILE").is_none();
            std::process::exit(if forgotten { 0 } else { 1 });
        };
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    }
}
