//! The mesh's key on disk, under a passphrase: whoever copies the file has nothing.
//!
//! **Invariant:** the key is in memory only while something is signed with it, and wiped then.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use shoal_protocol::cbor;
use shoal_protocol::certificate::SecretKey;
use zeroize::Zeroizing;

use super::files;
use crate::error::{Exit, Failure, own};

/// Memory of one guess, in KiB: OWASP's and RFC 9106's advice for secrets that are opened seldom.
const MEMORY_KIB: u32 = 64 * 1024;
/// Passes over it.
const PASSES: u32 = 3;
/// What is sealed, so that it passes for nothing else.
const WHAT: &[u8] = b"shoal mesh key v1";

/// How a passphrase is given.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PassphraseArguments {
    /// Read the passphrase of the mesh's key from the first line of this file, instead of asking
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub(crate) type Passphrase = Zeroizing<String>;

impl PassphraseArguments {
    /// A new passphrase; none where nobody can be asked, or none is wanted.
    pub(crate) fn choose(&self) -> Result<Option<Passphrase>, Failure> {
        if let Some(path) = &self.passphrase_file {
            return first_line(path).map(Some);
        }
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let first = ask("Passphrase for the mesh's key (empty: none): ")?;
        if first.is_empty() {
            return Ok(None);
        }
        if *first != *ask("Once more: ")? {
            return Err(Failure::usage("the two passphrases differ").fix("run the command again"));
        }
        Ok(Some(first))
    }

    /// The passphrase there is.
    fn recall(&self, path: &Path) -> Result<Passphrase, Failure> {
        match &self.passphrase_file {
            Some(path) => first_line(path),
            None if std::io::stdin().is_terminal() => ask("Passphrase of the mesh's key: "),
            None => Err(Failure::new(Exit::Denied, own::MESH, "the mesh's key is under a passphrase")
                .why(format!("`{}` is encrypted, and nobody can be asked here", path.display()))
                .fix("name a file that has it with --passphrase-file")),
        }
    }
}

fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    let answered = rpassword::prompt_password(prompt);
    answered.map(Zeroizing::new).map_err(|error| Failure::usage(format!("no passphrase could be read: {error}")))
}

fn first_line(path: &Path) -> Result<Passphrase, Failure> {
    let file = std::fs::File::open(path).map_err(|error| Failure::read(path, &error))?;
    let mut line = Zeroizing::new(String::new());
    std::io::BufReader::new(file).read_line(&mut line).map_err(|error| Failure::read(path, &error))?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    if line.is_empty() {
        return Err(Failure::usage(format!("the first line of `{}` is empty", path.display()))
            .fix("write the passphrase there"));
    }
    Ok(line)
}

/// A key that only who knows the passphrase can read.
#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(rename = "s", with = "serde_bytes")]
    salt: Vec<u8>,
    #[serde(rename = "n", with = "serde_bytes")]
    nonce: Vec<u8>,
    #[serde(rename = "c", with = "serde_bytes")]
    sealed: Vec<u8>,
    #[serde(rename = "m")]
    memory_kib: u32,
    #[serde(rename = "t")]
    passes: u32,
}

/// Makes the key of a new mesh; fails where there is one.
pub(crate) fn new_mesh_key(path: &Path, passphrase: Option<&Passphrase>) -> Result<SecretKey, Failure> {
    let Some(passphrase) = passphrase else { return files::new_key(path) };
    let key = files::random_key(path)?;
    let mut salt = vec![0; 16];
    let mut nonce = [0; 24];
    files::randomness(path, &mut salt)?;
    files::randomness(path, &mut nonce)?;
    let cipher = cipher(passphrase, &salt, MEMORY_KIB, PASSES)?;
    let plain = key.to_bytes();
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain.as_slice(), aad: WHAT });
    let sealed = sealed.map_err(|_| Failure::usage("the key could not be encrypted"))?;
    let sealed = Sealed { salt, nonce: nonce.to_vec(), sealed, memory_kib: MEMORY_KIB, passes: PASSES };
    files::write_secret(path, &cbor::encode(&sealed))?;
    Ok(key)
}

/// Reads the mesh's key, and asks for its passphrase when it has one.
pub(crate) fn mesh_key(path: &Path, passphrase: &PassphraseArguments) -> Result<SecretKey, Failure> {
    let bytes = files::read_secret(path)?;
    if bytes.len() == 32 {
        return files::read_key(path);
    }
    let bad = |why: String| {
        Failure::new(Exit::BadConfiguration, own::MESH, format!("`{}` is not a key to be used", path.display()))
            .why(why)
            .fix("restore it from where it was copied")
    };
    let sealed: Sealed = cbor::decode(&bytes).map_err(|error| bad(format!("it is damaged: {error}")))?;
    // Somebody else's numbers must not take all memory of this machine.
    if sealed.memory_kib > 16 * MEMORY_KIB || sealed.passes > 16 * PASSES {
        return Err(bad("it asks for more memory than any key of ours".into()));
    }
    let nonce: [u8; 24] = sealed.nonce.as_slice().try_into().map_err(|_| bad("it is damaged".into()))?;
    let passphrase = passphrase.recall(path)?;
    let cipher = cipher(&passphrase, &sealed.salt, sealed.memory_kib, sealed.passes)?;
    let opened = cipher.decrypt(&XNonce::from(nonce), Payload { msg: &sealed.sealed, aad: WHAT });
    let wrong = || {
        Failure::new(Exit::Denied, own::MESH, "that is not the passphrase of the mesh's key")
            .why(format!("`{}` does not open with it", path.display()))
            .fix("try again")
    };
    let plain = Zeroizing::new(opened.map_err(|_| wrong())?);
    let plain = Zeroizing::new(<[u8; 32]>::try_from(plain.as_slice()).map_err(|_| bad("it is damaged".into()))?);
    Ok(SecretKey::from_bytes(&plain))
}

fn cipher(passphrase: &str, salt: &[u8], memory_kib: u32, passes: u32) -> Result<XChaCha20Poly1305, Failure> {
    let failed = |error: argon2::Error| Failure::usage(format!("the passphrase cannot be used: {error}"));
    let params = Params::new(memory_kib, passes, 1, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.as_bytes(), salt, &mut *key).map_err(failed)?;
    Ok(XChaCha20Poly1305::new(&Key::from(*key)))
}
