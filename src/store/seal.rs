//! Sealing what is personal: ChaCha20-Poly1305 (RFC 8439) under a key per
//! customer. Erasing a customer destroys the key.

use std::fmt;

use chacha20poly1305::{
    ChaCha20Poly1305, Nonce,
    aead::{AeadInOut, KeyInit},
};

use super::StoreError;

/// Bytes that sealing adds.
pub const TAG_BYTES: usize = 16;

/// The key of one customer's data.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey(pub [u8; 32]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

impl DataKey {
    /// A new random key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, StoreError> {
        random_bytes("a data key").map(Self)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&self.0.into())
    }
}

/// Random bytes from the system; `what` they become is named in the error.
pub(super) fn random_bytes(what: &str) -> Result<[u8; 32], StoreError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| StoreError::Io { doing: format!("making {what}"), source: std::io::Error::other(e) })?;
    Ok(bytes)
}

/// The nonce of a record: four zero bytes and its sequence.
fn nonce(sequence: u64) -> Nonce {
    let mut bytes = [0_u8; 12];
    bytes[4..].copy_from_slice(&sequence.to_le_bytes());
    bytes.into()
}

/// Seals in place what follows the public bytes, which it is bound to, and
/// appends [`TAG_BYTES`]. The nonce is the record's sequence, so a sequence must
/// seal at most one text per key.
///
/// # Errors
/// The text is too long to seal (256 GiB).
pub fn seal(key: &DataKey, sequence: u64, text: &mut Vec<u8>, public_bytes: usize) -> Result<(), StoreError> {
    let (public, plain) = text.split_at_mut(public_bytes);
    match key.cipher().encrypt_inout_detached(&nonce(sequence), public, plain.into()) {
        Ok(tag) => {
            text.extend_from_slice(&tag);
            Ok(())
        }
        Err(_) => {
            let bytes = text.len() - public_bytes;
            // what is not sealed is not kept
            text.truncate(public_bytes);
            Err(StoreError::Corrupt(format!("sealing record `{sequence}`: `{bytes}` bytes are too many")))
        }
    }
}

/// Opens a sealed text.
///
/// # Errors
/// The key, the sequence or the additional data is another one, or the bytes
/// are damaged.
pub fn open(key: &DataKey, sequence: u64, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("opening the sealed part of record `{sequence}`: {what}"));
    let Some((text, tag)) = sealed.split_last_chunk::<TAG_BYTES>() else {
        return Err(corrupt("it is shorter than a seal"));
    };
    let mut plain = text.to_vec();
    key.cipher()
        .decrypt_inout_detached(&nonce(sequence), aad, plain.as_mut_slice().into(), &(*tag).into())
        .map_err(|_| corrupt("it is damaged, or sealed with another key"))?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: DataKey = DataKey([7; 32]);

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut out = [b"who", plain].concat();
        seal(&KEY, 42, &mut out, 3).unwrap();
        assert_eq!(&out[..3], b"who");
        out.split_off(3)
    }

    #[test]
    fn opens_what_it_sealed() {
        for plain in [&b""[..], b"x", &[9; 5_000]] {
            let sealed = sealed(plain);
            assert_eq!(sealed.len(), plain.len() + TAG_BYTES);
            assert_eq!(open(&KEY, 42, b"who", &sealed).unwrap(), plain);
        }
    }

    #[test]
    fn seals_as_the_standard_says() {
        // RFC 8439, section 2.8.2, has a nonce with a constant that is not
        // zero; the appendix A.5 likewise. So only the keystream is compared:
        // the first block of an all-zero key, counter 1, nonce 0 (A.1, vector 2).
        let mut out = vec![0; 8];
        seal(&DataKey([0; 32]), 0, &mut out, 0).unwrap();
        assert_eq!(out[..8], [0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a]);
    }

    #[test]
    fn refuses_everything_else() {
        let good = sealed(b"a secret");
        assert!(open(&DataKey([8; 32]), 42, b"who", &good).is_err());
        assert!(open(&KEY, 43, b"who", &good).is_err());
        assert!(open(&KEY, 42, b"whom", &good).is_err());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(open(&KEY, 42, b"who", &bad).is_err(), "byte {at}");
            assert!(open(&KEY, 42, b"who", &good[..at]).is_err(), "length {at}");
        }
    }

    #[test]
    fn keys_are_random_and_never_shown() {
        let (one, two) = (DataKey::generate().unwrap(), DataKey::generate().unwrap());
        assert_ne!(one, two);
        assert_eq!(format!("{one:?}"), "DataKey(..)");
    }
}
