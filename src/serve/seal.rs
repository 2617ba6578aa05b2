//! Sealing: what a ticket holds is encrypted and authenticated under keys that only the servers have.
//!
//! Contract: the first key of a ring seals, all of them open, so that keys rotate with overlap: add the new key behind the old one on every
//! server, then put it first, then drop the old one. What was altered by a bit, sealed under another key, or never sealed does not
//! open, and nothing tells which of these it was.
//!
//! How: a sealed text is `version (1 byte), key id (8), salt (24), AES-256-GCM ciphertext with its tag`. Key and nonce of each text come from
//! the ring's key and the random salt by HKDF-SHA-256, so that no number of tickets wears a key out (a random 96-bit nonce under one key
//! would, after some thousand millions). The first 33 bytes are authenticated with the text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hkdf};
use std::path::Path;

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;
const SALT_BYTES: usize = 24;
const HEADER_BYTES: usize = 1 + ID_BYTES + SALT_BYTES;
const NONCE_BYTES: usize = 12;
const PURPOSE: &[u8] = b"fastdata ticket";

/// The keys that a server seals and opens with. Has no `Debug`.
pub struct Keyring {
    keys: Vec<Key>,
    random: SystemRandom,
}

struct Key {
    /// Derived from the key, so that servers need not agree on names.
    id: [u8; ID_BYTES],
    bytes: [u8; KEY_BYTES],
}

impl Key {
    fn new(bytes: [u8; KEY_BYTES]) -> Key {
        let hash = digest::digest(&digest::SHA256, &[b"fastdata key id".as_slice(), &bytes].concat());
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hash.as_ref()[..ID_BYTES]);
        Key { id, bytes }
    }

    /// The key and nonce of one text.
    fn derive(&self, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.bytes);
        let mut derived = [0; KEY_BYTES + NONCE_BYTES];
        secret.expand(&[PURPOSE], Length(derived.len())).ok()?.fill(&mut derived).ok()?;
        let (key, nonce) = derived.split_at(KEY_BYTES);
        Some((LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?), Nonce::try_assume_unique_for_key(nonce).ok()?))
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Keyring {
    /// One key that nobody else has: what it sealed does not outlive this ring.
    pub fn ephemeral() -> Result<Keyring> {
        let random = SystemRandom::new();
        let mut bytes = [0; KEY_BYTES];
        random.fill(&mut bytes).map_err(|_| Error::internal(Stage::Serve, "the system gives no random bytes"))?;
        Ok(Keyring { keys: vec![Key::new(bytes)], random })
    }

    /// Reads a file of lines `NAME BASE64`, where BASE64 is 32 random bytes; empty lines and lines that begin with `#` are passed over.
    pub fn read(path: &Path) -> Result<Keyring> {
        let config = |what: String| {
            Error::new(ErrorKind::Config, Stage::Config, format!("server.tickets.keys: {}: {what}", path.display()))
                .advice("write one line a key, the one that seals first: a name and the output of `head -c 32 /dev/urandom | base64`")
        };
        let text = std::fs::read_to_string(path).map_err(|e| config(e.to_string()))?;
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // Neither the line nor a part of it goes into the message: it may be the key.
            let key = line.split_whitespace().nth(1).and_then(|key| STANDARD.decode(key).ok()).and_then(|key| key.try_into().ok());
            keys.push(Key::new(key.ok_or_else(|| config(format!("line {number} is no name and 32 bytes in base64")))?));
        }
        if keys.is_empty() {
            return Err(config("no key in it".to_owned()));
        }
        Ok(Keyring { keys, random: SystemRandom::new() })
    }

    pub fn seal(&self, text: &[u8]) -> Result<Vec<u8>> {
        let failed = || Error::internal(Stage::Serve, "sealing a ticket failed");
        let key = self.keys.first().ok_or_else(failed)?;
        let mut sealed = vec![0; HEADER_BYTES];
        sealed[0] = VERSION;
        sealed[1..=ID_BYTES].copy_from_slice(&key.id);
        self.random.fill(&mut sealed[1 + ID_BYTES..]).map_err(|_| failed())?;
        let (cipher, nonce) = key.derive(&sealed[1 + ID_BYTES..]).ok_or_else(failed)?;
        let mut text = text.to_vec();
        cipher.seal_in_place_append_tag(nonce, Aad::from(&sealed), &mut text).map_err(|_| failed())?;
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// What was sealed, or nothing.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (header, text) = sealed.split_at_checked(HEADER_BYTES)?;
        let key = self.keys.iter().find(|key| header[0] == VERSION && key.id == header[1..=ID_BYTES])?;
        let (cipher, nonce) = key.derive(&header[1 + ID_BYTES..])?;
        let mut text = text.to_vec();
        let opened = cipher.open_in_place(nonce, Aad::from(header), &mut text).ok()?.len();
        text.truncate(opened);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn ring(keys: &[u8]) -> Keyring {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# the one that seals first\n").unwrap();
        for (n, key) in keys.iter().enumerate() {
            writeln!(file, "key-{n} {}", STANDARD.encode([*key; KEY_BYTES])).unwrap();
        }
        Keyring::read(file.path()).unwrap()
    }

    #[test]
    fn keys_rotate_with_overlap() {
        let (old, both, turned, new) = (ring(&[1]), ring(&[1, 2]), ring(&[2, 1]), ring(&[2]));
        let (early, late) = (old.seal(b"a").unwrap(), turned.seal(b"b").unwrap());
        assert_eq!(both.open(&early).unwrap(), b"a");
        assert_eq!(turned.open(&early).unwrap(), b"a");
        assert_eq!(both.open(&late).unwrap(), b"b");
        assert_eq!(new.open(&late).unwrap(), b"b");
        assert!(new.open(&early).is_none() && old.open(&late).is_none());
        assert!(Keyring::ephemeral().unwrap().open(&late).is_none());
    }

    #[test]
    fn the_same_text_never_seals_to_the_same_bytes_and_does_not_show() {
        let ring = ring(&[1]);
        let (a, b) = (ring.seal(b"canary canary canary").unwrap(), ring.seal(b"canary canary canary").unwrap());
        assert_ne!(a[HEADER_BYTES..], b[HEADER_BYTES..]);
        assert!(!a.windows(6).any(|part| part == b"canary"));
    }

    #[test]
    fn every_altered_bit_and_every_cut_is_refused() {
        let ring = ring(&[1]);
        let sealed = ring.seal(b"text").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(ring.open(&altered).is_none(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(ring.open(&sealed[..length]).is_none(), "{length} bytes");
        }
    }

    #[test]
    fn a_file_without_keys_is_refused_and_never_quoted() {
        for text in ["", "# nothing\n", "a b", "secretsecretsecret", "name c2hvcnQ="] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            write!(file, "{text}").unwrap();
            let error = Keyring::read(file.path()).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.message().contains("secretsecret") && !error.message().contains("c2hv"), "{error}");
        }
        assert!(Keyring::read(Path::new("/nowhere/keys")).is_err());
    }
}
