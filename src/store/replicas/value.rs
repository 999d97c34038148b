//! What lies in Redis of a customer: the profile, sealed, or where it went.

use crate::domain::{CustomerKey, Profile};

use super::super::{
    StoreError, codec,
    row_seal::{Nonces, RowKey, Table},
};

/// First byte of a value.
const VERSION: u8 = 1;
const PROFILE: u8 = 1;
const MOVED: u8 = 2;
const ERASED: u8 = 3;

/// What is known of a customer in Redis.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// The profile.
    Profile(Box<Profile>),
    /// Taken in by this one.
    Moved(CustomerKey),
    /// Nothing of this customer comes back.
    Erased,
}

impl Value {
    /// Sealed for a customer's key.
    ///
    /// # Errors
    /// It is too long to seal.
    pub fn seal(&self, key: &RowKey, nonces: &mut Nonces, customer: CustomerKey) -> Result<Vec<u8>, StoreError> {
        let mut sealed = Vec::with_capacity(2_048);
        key.seal(nonces, (Table::Shared, &customer.0.to_be_bytes()), &mut sealed, |into| {
            into.push(VERSION);
            match self {
                Value::Profile(profile) => {
                    into.push(PROFILE);
                    codec::encode_profile(profile, into);
                }
                Value::Moved(to) => {
                    into.push(MOVED);
                    codec::Writer::new(into).u128(to.0);
                }
                Value::Erased => into.push(ERASED),
            }
        })?;
        Ok(sealed)
    }

    /// Opens what [`Value::seal`] made.
    ///
    /// # Errors
    /// It is damaged, another customer's, or of another shared store.
    pub fn open(key: &RowKey, customer: CustomerKey, sealed: &[u8]) -> Result<Self, StoreError> {
        let plain = key.open((Table::Shared, &customer.0.to_be_bytes()), sealed)?;
        let mut reader = codec::Reader::new("customer in redis", &plain);
        reader.version(VERSION)?;
        match reader.u8()? {
            PROFILE => Ok(Value::Profile(Box::new(codec::decode_profile(reader.rest())?))),
            MOVED => Ok(Value::Moved(CustomerKey(reader.u128()?))),
            ERASED => Ok(Value::Erased),
            other => Err(reader.error(&format!("`{other}` is no known kind"))),
        }
    }
}
