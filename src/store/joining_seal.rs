//! What seals the secrets that lie in Redis, so that Redis alone gives nothing
//! away: XChaCha20-Poly1305 under a key derived (HMAC-SHA256, RFC 2104) from a
//! file that every replica has and Redis has not.

use std::{fmt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{AeadInOut, KeyInit},
};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::{
    StoreError,
    seal::{TAG_BYTES, random_bytes},
};

/// Fewest bytes of the file.
pub const SECRET_BYTES_MIN: usize = 32;
/// Most bytes of the file.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;
/// What the key is derived for.
const PURPOSE: &[u8] = b"rapport store secret 1";
/// What stands before a sealed secret, and never before a plain one.
const SEALED: &str = "sealed:";

/// The key that seals the secrets in Redis. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSecret([u8; 32]);

impl fmt::Debug for StoreSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl StoreSecret {
    /// From the bytes of a file; white space at its end does not count.
    ///
    /// # Errors
    /// Fewer than [`SECRET_BYTES_MIN`] or more than [`SECRET_BYTES_MAX`].
    pub fn of(bytes: &[u8]) -> Result<Self, StoreError> {
        let bytes = bytes.trim_ascii_end();
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(StoreError::Settings(format!(
                "reading the store secret: it has `{}` bytes, it must have `{SECRET_BYTES_MIN}` to `{SECRET_BYTES_MAX}`: \
                 make one with `head -c 32 /dev/urandom | base64`",
                bytes.len()
            )));
        }
        // a long key is hashed to the block (RFC 2104), so this takes any length
        let mut block = [0_u8; 64];
        block[..32].copy_from_slice(&Sha256::digest(bytes));
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new(&block.into());
        mac.update(PURPOSE);
        Ok(Self(mac.finalize().into_bytes().into()))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is too short or too long.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let bytes = std::fs::read(path).map_err(|source| StoreError::Io {
            doing: format!("reading the store secret `{}`", path.display()),
            source,
        })?;
        Self::of(&bytes)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

/// A text as it lies in Redis below a key, which it is bound to.
///
/// # Errors
/// The system has no randomness.
pub(super) fn wrap(secret: Option<&StoreSecret>, key: &[u8], text: &str) -> Result<Vec<u8>, StoreError> {
    let Some(secret) = secret else { return Ok(text.as_bytes().to_vec()) };
    let random = random_bytes("a nonce")?;
    let mut nonce = [0_u8; NONCE_BYTES];
    nonce.copy_from_slice(&random[..NONCE_BYTES]);
    let mut sealed = text.as_bytes().to_vec();
    let tag = secret.cipher().encrypt_inout_detached(&XNonce::from(nonce), key, sealed.as_mut_slice().into());
    let tag = tag.map_err(|_| StoreError::Corrupt("sealing a secret: it is too long".to_owned()))?;
    let bytes = [&nonce[..], &sealed, &tag].concat();
    Ok(format!("{SEALED}{}", STANDARD_NO_PAD.encode(bytes)).into_bytes())
}

/// The text of what lies in Redis below a key.
///
/// # Errors
/// It is sealed and no secret, or another one, is given; it is not sealed
/// although a secret is given; it is damaged.
pub(super) fn unwrap(secret: Option<&StoreSecret>, key: &[u8], found: &[u8]) -> Result<String, StoreError> {
    let damaged = || wrong(key, "it is damaged, or sealed with another `--store-secret`");
    let text = std::str::from_utf8(found).map_err(|_| damaged())?;
    let (secret, sealed) = match (secret, text.strip_prefix(SEALED)) {
        (None, None) => return Ok(text.to_owned()),
        (Some(secret), Some(sealed)) => (secret, sealed),
        (None, Some(_)) => return Err(wrong(key, "it is sealed: give the `--store-secret` of the other replicas")),
        (Some(_), None) => {
            return Err(wrong(
                key,
                "it is not sealed, although `--store-secret` is given: give it to no replica, or stop all replicas, \
                 delete the keys of the secrets in redis, and start one that was joined before with it",
            ));
        }
    };
    let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| damaged())?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
    let (text, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or_else(damaged)?;
    let mut plain = text.to_vec();
    let opened =
        secret.cipher().decrypt_inout_detached(&XNonce::from(*nonce), key, plain.as_mut_slice().into(), &(*tag).into());
    opened.map_err(|_| damaged())?;
    String::from_utf8(plain).map_err(|_| damaged())
}

fn wrong(key: &[u8], why: &str) -> StoreError {
    StoreError::Settings(format!("reading the secret `{}` in redis: {why}", String::from_utf8_lossy(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> StoreSecret {
        StoreSecret::of(&[byte; 40]).unwrap()
    }

    #[test]
    fn only_the_same_secret_and_key_open() {
        let (one, other) = (secret(1), secret(2));
        let wrapped = wrap(Some(&one), b"ns:{secrets}:store", "1 abc\n").unwrap();
        assert!(!wrapped.windows(3).any(|part| part == b"abc"));
        assert_eq!(unwrap(Some(&one), b"ns:{secrets}:store", &wrapped).unwrap(), "1 abc\n");
        assert_ne!(wrap(Some(&one), b"ns:{secrets}:store", "1 abc\n").unwrap(), wrapped);
        for (secret, key) in [(Some(&other), "ns:{secrets}:store"), (Some(&one), "ns:{secrets}:tokens"), (None, "x")] {
            assert!(unwrap(secret, key.as_bytes(), &wrapped).is_err());
        }
        let plain = wrap(None, b"k", "1 abc\n").unwrap();
        assert_eq!(unwrap(None, b"k", &plain).unwrap(), "1 abc\n");
        assert!(unwrap(Some(&one), b"k", &plain).unwrap_err().to_string().contains("not sealed"));
        for at in SEALED.len()..wrapped.len() {
            let mut bad = wrapped.clone();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            assert!(unwrap(Some(&one), b"ns:{secrets}:store", &bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_secret_is_long_enough_and_never_shown() {
        assert!(StoreSecret::of(&[7; 31]).is_err() && StoreSecret::of(&[b' '; 64]).is_err());
        let with_newline = [b"x".repeat(40), b"\n".to_vec()].concat();
        assert_eq!(StoreSecret::of(&with_newline).unwrap(), StoreSecret::of(&[b'x'; 40]).unwrap());
        assert_eq!(format!("{:?}", secret(1)), "***");
    }
}
