//! Sealing rows of the embedded store: XChaCha20-Poly1305 (RFC 8439 with the
//! 192-bit nonces of draft-irtf-cfrg-xchacha) under a key of its own.
//!
//! The log seals with the customer's data key and the sequence as nonce, so rows
//! never use that key itself: theirs is derived from it (HMAC-SHA256, RFC 2104,
//! of a fixed text). A row is written again and again, and its version may come
//! back after a crash, so neither its place nor its version can be the nonce:
//! the nonce is 128 random bits per transaction and a counter within it, and
//! stands before the sealed bytes. What a row is bound to, its table and its key,
//! is authenticated, so that no row can be put in another's place.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{AeadInOut, KeyInit},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{
    StoreError,
    seal::{DataKey, TAG_BYTES, random_bytes},
};

/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;
/// What the key of rows is derived for.
const PURPOSE: &[u8] = b"rapport rows 1";

/// A table whose rows are sealed. The number is bound to each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    Profiles = 1,
    Timeline = 2,
    /// Profiles as they were before a merge.
    Merges = 3,
    /// What lies in Redis of a customer.
    Shared = 4,
    /// What replicas tell each other.
    Stream = 5,
}

/// The nonces of one transaction.
#[derive(Debug)]
pub(super) struct Nonces {
    random: [u8; 16],
    next: u64,
}

impl Nonces {
    /// # Errors
    /// The system has no randomness.
    pub fn new() -> Result<Self, StoreError> {
        let bytes = random_bytes("a nonce")?;
        let mut random = [0; 16];
        random.copy_from_slice(&bytes[..16]);
        Ok(Self { random, next: 0 })
    }

    fn next(&mut self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..16].copy_from_slice(&self.random);
        nonce[16..].copy_from_slice(&self.next.to_le_bytes());
        self.next += 1;
        nonce
    }
}

/// What seals the rows of one customer.
pub(super) struct RowKey(XChaCha20Poly1305);

impl RowKey {
    pub fn of(key: &DataKey) -> Self {
        let mut block = [0_u8; 64];
        block[..32].copy_from_slice(&key.0);
        // HMAC pads a short key with zeros to the block (RFC 2104), so this is the same key
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new(&block.into());
        mac.update(PURPOSE);
        let derived: [u8; 32] = mac.finalize().into_bytes().into();
        Self(XChaCha20Poly1305::new(&derived.into()))
    }

    /// Replaces `into` with the sealed row that `write` makes.
    ///
    /// # Errors
    /// The row is too long to seal (256 GiB).
    pub fn seal(
        &self,
        nonces: &mut Nonces,
        (table, place): (Table, &[u8]),
        into: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), StoreError> {
        let nonce = nonces.next();
        into.clear();
        into.extend_from_slice(&nonce);
        write(into);
        let bound = bound(table, place);
        let plain = &mut into[NONCE_BYTES..];
        let tag = self.0.encrypt_inout_detached(&XNonce::from(nonce), &bound, plain.into());
        let tag = tag.map_err(|_| {
            into.clear();
            StoreError::Corrupt("sealing a row: it is too long".to_owned())
        })?;
        into.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens a sealed row.
    ///
    /// # Errors
    /// It is damaged, of another place, or sealed with another key.
    pub fn open(&self, (table, place): (Table, &[u8]), row: &[u8]) -> Result<Vec<u8>, StoreError> {
        let wrong =
            || StoreError::Corrupt(format!("opening a sealed row of `{table:?}`: it is damaged, or not in its place"));
        let (nonce, sealed) = row.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
        let (text, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or_else(wrong)?;
        let mut plain = text.to_vec();
        let bound = bound(table, place);
        let opened =
            self.0.decrypt_inout_detached(&XNonce::from(*nonce), &bound, plain.as_mut_slice().into(), &(*tag).into());
        opened.map_err(|_| wrong())?;
        Ok(plain)
    }
}

fn bound(table: Table, place: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(1 + place.len());
    bound.push(table as u8);
    bound.extend_from_slice(place);
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &RowKey, nonces: &mut Nonces, plain: &[u8]) -> Vec<u8> {
        let mut row = b"what was there".to_vec();
        key.seal(nonces, (Table::Profiles, b"place"), &mut row, |into| into.extend_from_slice(plain)).unwrap();
        row
    }

    #[test]
    fn a_row_opens_only_where_and_as_it_was_sealed() {
        let key = RowKey::of(&DataKey([7; 32]));
        let row = sealed(&key, &mut Nonces::new().unwrap(), b"ann@example.org");
        assert_eq!(row.len(), NONCE_BYTES + 15 + TAG_BYTES);
        assert!(!row.windows(3).any(|w| w == b"ann"));
        assert_eq!(key.open((Table::Profiles, b"place"), &row).unwrap(), b"ann@example.org");
        assert!(key.open((Table::Profiles, b"other"), &row).is_err());
        assert!(key.open((Table::Timeline, b"place"), &row).is_err());
        assert!(RowKey::of(&DataKey([8; 32])).open((Table::Profiles, b"place"), &row).is_err());
        for at in 0..row.len() {
            let mut bad = row.clone();
            bad[at] ^= 1;
            assert!(key.open((Table::Profiles, b"place"), &bad).is_err(), "byte {at}");
            assert!(key.open((Table::Profiles, b"place"), &row[..at]).is_err(), "length {at}");
        }
    }

    #[test]
    fn no_nonce_comes_twice() {
        let key = RowKey::of(&DataKey([7; 32]));
        let (mut one, mut two) = (Nonces::new().unwrap(), Nonces::new().unwrap());
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            assert!(seen.insert(sealed(&key, &mut one, b"same")));
            assert!(seen.insert(sealed(&key, &mut two, b"same")));
        }
        let nonces: std::collections::HashSet<_> = seen.iter().map(|row| row[..NONCE_BYTES].to_vec()).collect();
        assert_eq!(nonces.len(), 200);
    }

    #[test]
    fn rows_are_not_sealed_with_the_key_of_the_log() {
        let data = DataKey([7; 32]);
        let derived = RowKey::of(&data);
        let row = sealed(&derived, &mut Nonces::new().unwrap(), b"text");
        let plain = RowKey(XChaCha20Poly1305::new(&data.0.into()));
        assert!(plain.open((Table::Profiles, b"place"), &row).is_err());
    }
}
