//! A profile in memory as it is at rest: about a quarter of the bytes of its
//! structs, in one piece, so that what it takes is known and not estimated.

use std::sync::Arc;

use super::{StoreError, codec, seal::DataKey};
use crate::domain::Profile;

/// Bytes before the profile: its hash and its customer's data key.
const HASH_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const HEAD_BYTES: usize = HASH_BYTES + KEY_BYTES;
/// The counts of a shared piece, bytes.
const COUNTS_BYTES: usize = 2 * size_of::<usize>();
/// Room made for a profile while it is packed, bytes.
const PACKING_BYTES: usize = 2_048;

/// A profile in memory, with what recording its decisions needs.
#[derive(Debug)]
pub struct HotProfile {
    /// The customer.
    pub profile: Profile,
    /// Content hash (XXH3-128) of the encoded profile.
    pub hash: u128,
    /// What seals the customer's data.
    pub(crate) data_key: DataKey,
    /// All of this, packed.
    pub(super) packed: PackedProfile,
}

impl HotProfile {
    /// A profile, packed.
    pub fn new(profile: Profile, data_key: DataKey) -> Self {
        let packed = PackedProfile::pack(&profile, &data_key);
        Self { hash: packed.hash(), profile, data_key, packed }
    }

    /// A profile of what it is encoded to.
    ///
    /// # Errors
    /// The bytes are not exactly one encoded profile.
    pub(super) fn of_encoded(encoded: &[u8], data_key: DataKey) -> Result<Self, StoreError> {
        let packed = PackedProfile::of_encoded(encoded, &data_key);
        Ok(Self { hash: packed.hash(), profile: codec::decode_profile(encoded)?, data_key, packed })
    }
}

/// A profile, its content hash and what seals its customer's data, in one
/// piece. Clones share it.
#[derive(Clone)]
pub struct PackedProfile(Arc<[u8]>);

impl std::fmt::Debug for PackedProfile {
    // the bytes are personal, and a data key is among them
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedProfile({} bytes)", self.encoded().len())
    }
}

impl PackedProfile {
    /// Packs a profile with its customer's key.
    pub(super) fn pack(profile: &Profile, data_key: &DataKey) -> Self {
        Self::write(data_key, |bytes| codec::encode_profile(profile, bytes))
    }

    /// Packs what a profile is encoded to with its customer's key.
    pub(super) fn of_encoded(encoded: &[u8], data_key: &DataKey) -> Self {
        Self::write(data_key, |bytes| bytes.extend_from_slice(encoded))
    }

    fn write(data_key: &DataKey, encode: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = Vec::with_capacity(PACKING_BYTES);
        bytes.extend_from_slice(&[0; HASH_BYTES]);
        bytes.extend_from_slice(&data_key.0);
        encode(&mut bytes);
        let hash = xxhash_rust::xxh3::xxh3_128(&bytes[HEAD_BYTES..]);
        bytes[..HASH_BYTES].copy_from_slice(&hash.to_le_bytes());
        Self(bytes.into())
    }

    /// The structs.
    ///
    /// # Errors
    /// What was packed is no encoded profile; never of [`PackedProfile::pack`].
    pub(super) fn unpack(&self) -> Result<HotProfile, StoreError> {
        let profile = codec::decode_profile(self.encoded())?;
        Ok(HotProfile { profile, hash: self.hash(), data_key: self.data_key(), packed: self.clone() })
    }

    /// The profile as bytes.
    pub fn encoded(&self) -> &[u8] {
        // INVARIANT: `write` puts the head before everything
        &self.0[HEAD_BYTES..]
    }

    /// The content hash (XXH3-128) of the encoded profile.
    pub fn hash(&self) -> u128 {
        self.0.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
    }

    /// What seals the customer's data.
    pub(super) fn data_key(&self) -> DataKey {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&self.0[HASH_BYTES..HEAD_BYTES]);
        DataKey(key)
    }

    /// Whether both are the same piece of memory.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What it takes of the heap, bytes.
    pub fn heap_bytes(&self) -> usize {
        allocated(COUNTS_BYTES + self.0.len())
    }
}

/// What the allocator takes for so many bytes: the next size class, of which
/// there are four between powers of two (mimalloc, `mi_bin`; jemalloc has the
/// same), and two words at least.
pub(super) fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=64 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::codec::samples;

    #[test]
    fn size_classes_are_a_quarter_of_a_power_of_two_apart() {
        let classes = [(0, 0), (1, 16), (64, 64), (65, 80), (1_024, 1_024), (1_025, 1_280), (1_700, 1_792)];
        for (bytes, class) in classes {
            assert_eq!(allocated(bytes), class, "{bytes}");
        }
        for bytes in 65..5_000 {
            let class = allocated(bytes);
            assert!(class >= bytes && class * 4 <= bytes * 5 + 4, "{bytes} {class}");
            assert_eq!(allocated(class), class);
        }
    }

    proptest! {
        #[test]
        fn what_is_unpacked_is_what_was_packed(profile in samples::profile(), key: [u8; 32]) {
            let hot = HotProfile::new(profile.clone(), DataKey(key));
            let again = hot.packed.unpack().unwrap();
            prop_assert_eq!(&again.profile, &profile);
            prop_assert_eq!((again.hash, &again.data_key), (hot.hash, &hot.data_key));
            let mut encoded = Vec::new();
            codec::encode_profile(&profile, &mut encoded);
            prop_assert_eq!(hot.packed.encoded(), &encoded[..]);
            prop_assert_eq!(hot.hash, xxhash_rust::xxh3::xxh3_128(&encoded));
            let read = HotProfile::of_encoded(&encoded, DataKey(key)).unwrap();
            prop_assert_eq!((read.hash, &read.profile), (hot.hash, &profile));
            prop_assert!(!read.packed.is(&hot.packed) && again.packed.is(&hot.packed));
            // neither what is known nor the key is shown
            let shown = format!("{:?}", hot.packed);
            prop_assert_eq!(shown, format!("PackedProfile({} bytes)", encoded.len()));
        }
    }
}
