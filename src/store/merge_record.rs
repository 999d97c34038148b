//! What the log says of a change between customers. Whose it is stands in the
//! clear, what led to it is sealed under the key of who lives on.

use crate::domain::{CustomerKey, IdentityHash, MergeId};

use super::{MergeCause, StoreError, codec, log::LogRecord, seal, seal::DataKey};

/// First byte of a record.
const VERSION: u8 = 1;

/// What happened. Closed; the number is the one at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum CustomerChange {
    /// Two customers became one.
    Merge = 1,
    /// That was taken back.
    Undo = 2,
    /// One more person became a customer whom devices alone name: nobody was
    /// taken in. 3 is an erasure.
    Joined = 4,
}

/// The public part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChangeHead {
    pub change: CustomerChange,
    /// Who lives on.
    pub survivor: CustomerKey,
    /// Who was taken in, or is a customer again; the same one where nobody was.
    pub absorbed: CustomerKey,
}

/// The sealed part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChangeBody {
    pub id: MergeId,
    pub cause: MergeCause,
    pub reason: Box<str>,
    /// The identities by which people were joined.
    pub joined: Vec<IdentityHash>,
}

/// The payload.
pub(super) fn encode(
    head: ChangeHead,
    body: &ChangeBody,
    (key, sequence): (&DataKey, u64),
) -> Result<Vec<u8>, StoreError> {
    let mut payload = vec![VERSION];
    write_head(head, &mut codec::Writer::new(&mut payload));
    let public_bytes = payload.len();
    write_body(body, &mut codec::Writer::new(&mut payload));
    seal::seal(key, sequence, &mut payload, public_bytes)?;
    Ok(payload)
}

/// The public part.
pub(super) fn write_head(head: ChangeHead, writer: &mut codec::Writer<'_>) {
    writer.u8(head.change as u8);
    writer.u128(head.survivor.0);
    writer.u128(head.absorbed.0);
}

/// The part that is sealed in the log.
pub(super) fn write_body(body: &ChangeBody, writer: &mut codec::Writer<'_>) {
    writer.u128(body.id.0);
    writer.u8(body.cause as u8);
    writer.text(&body.reason);
    writer.list(&body.joined, |w, hash| w.u128(hash.0));
}

fn reader<'a>(record: &LogRecord<'a>) -> Result<(ChangeHead, &'a [u8]), StoreError> {
    let mut reader = codec::Reader::new("customer record", record.payload);
    reader.version(VERSION)?;
    let head = read_head(&mut reader)?;
    Ok((head, reader.rest()))
}

/// Reads what [`write_head`] wrote.
pub(super) fn read_head(reader: &mut codec::Reader<'_>) -> Result<ChangeHead, StoreError> {
    let change = match reader.u8()? {
        1 => CustomerChange::Merge,
        2 => CustomerChange::Undo,
        4 => CustomerChange::Joined,
        other => {
            let why = format!("reading a customer record: `{other}` is no known change; restore from a copy");
            return Err(StoreError::Corrupt(why));
        }
    };
    let survivor = CustomerKey(reader.u128()?);
    let absorbed = CustomerKey(reader.u128()?);
    Ok(ChangeHead { change, survivor, absorbed })
}

/// The public part.
pub(super) fn head(record: &LogRecord<'_>) -> Result<ChangeHead, StoreError> {
    Ok(reader(record)?.0)
}

/// The sealed part; `key` is that of who lives on.
pub(super) fn body(record: &LogRecord<'_>, key: &DataKey) -> Result<ChangeBody, StoreError> {
    let (_, sealed) = reader(record)?;
    let public = &record.payload[..record.payload.len() - sealed.len()];
    let plain = seal::open(key, record.sequence, public, sealed)?;
    read_body(&mut codec::Reader::new("customer record", &plain))
}

/// Reads what [`write_body`] wrote, to the end.
pub(super) fn read_body(reader: &mut codec::Reader<'_>) -> Result<ChangeBody, StoreError> {
    let id = MergeId(reader.u128()?);
    let cause = reader.choice(1, &MergeCause::ALL)?;
    let reason = reader.text()?.into();
    let joined = reader.list(16, |r| r.u128().map(IdentityHash))?;
    reader.end()?;
    Ok(ChangeBody { id, cause, reason, joined })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Timestamp,
        store::log::{Position, RecordKind},
    };

    #[test]
    fn a_change_comes_back_with_the_right_key_only() {
        let (key, other) = (DataKey([1; 32]), DataKey([2; 32]));
        let head = ChangeHead { change: CustomerChange::Undo, survivor: CustomerKey(7), absorbed: CustomerKey(8) };
        let body = ChangeBody {
            id: MergeId(9),
            cause: MergeCause::Requested,
            reason: "the same person".into(),
            joined: vec![IdentityHash(3)],
        };
        let payload = encode(head, &body, (&key, 5)).unwrap();
        let position = Position { segment: 1, offset: 0 };
        let record =
            LogRecord { sequence: 5, time: Timestamp(0), kind: RecordKind::Customer, payload: &payload, position };
        assert_eq!(super::head(&record).unwrap(), head);
        assert_eq!(super::body(&record, &key).unwrap(), body);
        assert!(super::body(&record, &other).is_err());
        for change in [CustomerChange::Merge, CustomerChange::Undo, CustomerChange::Joined] {
            let payload = encode(ChangeHead { change, ..head }, &body, (&key, 5)).unwrap();
            assert_eq!(super::head(&LogRecord { payload: &payload, ..record }).unwrap().change, change);
        }
        let mut unknown = payload.clone();
        unknown[1] = 3;
        assert!(super::head(&LogRecord { payload: &unknown, ..record }).is_err());
    }
}
