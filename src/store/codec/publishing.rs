//! Pauses, revisions and the audit list as bytes.

use std::sync::Arc;

use super::{Reader, Writer};
use crate::{
    domain::{
        Activation, AuditAction, AuditEntry, Pause, PauseKind, Pauses, Revision, RevisionOrigin, RulesetHash, Timestamp,
    },
    store::StoreError,
};

const VERSION: u8 = 1;
/// Fewest bytes of a pause: a kind, three lengths, a time.
const PAUSE_BYTES_MIN: usize = 5;
/// Fewest bytes of a text: its length.
const TEXT_BYTES_MIN: usize = 1;

const KINDS: [PauseKind; 4] = PauseKind::ALL;
const ORIGINS: [RevisionOrigin; 4] = RevisionOrigin::ALL;
const ACTIONS: [AuditAction; 4] = AuditAction::ALL;

/// Pauses.
pub fn encode_pauses(pauses: &Pauses) -> Vec<u8> {
    encoded(|w| {
        w.varint(pauses.version);
        w.list(&pauses.list, |w, pause| {
            w.u8(pause.kind as u8);
            w.text(&pause.id);
            w.text(&pause.reason);
            w.text(&pause.author);
            w.signed(pause.since.0);
        });
    })
}

/// Reads pauses.
///
/// # Errors
/// The bytes are not exactly one encoding of pauses.
pub fn decode_pauses(bytes: &[u8]) -> Result<Pauses, StoreError> {
    decoded("pauses", bytes, |r| {
        let version = r.varint()?;
        let list = r.list(PAUSE_BYTES_MIN, |r| {
            Ok(Pause {
                kind: r.choice(1, &KINDS)?,
                id: r.text()?.into(),
                reason: r.text()?.into(),
                author: r.text()?.into(),
                since: Timestamp(r.signed()?),
            })
        })?;
        Ok(Pauses { version, list })
    })
}

/// What is known of a revision.
pub fn encode_revision(revision: &Revision) -> Vec<u8> {
    encoded(|w| {
        w.u64(revision.hash.0);
        w.text(&revision.author);
        w.text(&revision.comment);
        w.signed(revision.created_at.0);
        w.option(revision.parent, |w, parent| w.u64(parent.0));
        w.u8(revision.origin as u8);
        w.text(&revision.force_reason);
        w.signed(revision.activated_at.0);
        w.option(revision.replaced_at, |w, at| w.signed(at.0));
        w.u32(revision.offers);
        w.u32(revision.files);
        w.u64(revision.bytes);
    })
}

/// Reads what is known of a revision.
///
/// # Errors
/// The bytes are not exactly one encoding of a revision.
pub fn decode_revision(bytes: &[u8]) -> Result<Revision, StoreError> {
    decoded("a revision", bytes, |r| {
        Ok(Revision {
            hash: RulesetHash(r.u64()?),
            author: r.text()?.into(),
            comment: r.text()?.into(),
            created_at: Timestamp(r.signed()?),
            parent: r.option(|r| r.u64().map(RulesetHash))?,
            origin: r.choice(1, &ORIGINS)?,
            force_reason: r.text()?.into(),
            activated_at: Timestamp(r.signed()?),
            replaced_at: r.option(|r| r.signed().map(Timestamp))?,
            offers: r.u32()?,
            files: r.u32()?,
            bytes: r.u64()?,
        })
    })
}

/// How the active revision became active.
pub fn encode_activation(activation: &Activation) -> Vec<u8> {
    encoded(|w| {
        w.u64(activation.hash.0);
        w.signed(activation.at.0);
        w.text(&activation.author);
        w.text(&activation.comment);
        w.u8(activation.origin as u8);
        w.option(activation.parent, |w, parent| w.u64(parent.0));
        w.text(&activation.force_reason);
    })
}

/// Reads how the active revision became active.
///
/// # Errors
/// The bytes are not exactly one encoding of an activation.
pub fn decode_activation(bytes: &[u8]) -> Result<Activation, StoreError> {
    decoded("the active revision", bytes, |r| {
        Ok(Activation {
            hash: RulesetHash(r.u64()?),
            at: Timestamp(r.signed()?),
            author: r.text()?.into(),
            comment: r.text()?.into(),
            origin: r.choice(1, &ORIGINS)?,
            parent: r.option(|r| r.u64().map(RulesetHash))?,
            force_reason: r.text()?.into(),
        })
    })
}

/// An entry of the audit list; its number is its key.
pub fn encode_audit(entry: &AuditEntry) -> Vec<u8> {
    encoded(|w| {
        w.signed(entry.at.0);
        w.text(&entry.author);
        w.u8(entry.action as u8);
        w.text(&entry.subject);
        w.text(&entry.reason);
        w.option(entry.origin, |w, origin| w.u8(origin as u8));
        w.option(entry.previous, |w, previous| w.u64(previous.0));
        w.text(&entry.force_reason);
        w.list(&entry.overridden, |w, line| w.text(line));
    })
}

/// Reads an entry of the audit list.
///
/// # Errors
/// The bytes are not exactly one encoding of an entry.
pub fn decode_audit(number: u64, bytes: &[u8]) -> Result<AuditEntry, StoreError> {
    decoded("an entry of the audit list", bytes, |r| {
        Ok(AuditEntry {
            number,
            at: Timestamp(r.signed()?),
            author: r.text()?.into(),
            action: r.choice(1, &ACTIONS)?,
            subject: r.text()?.into(),
            reason: r.text()?.into(),
            origin: r.option(|r| r.choice(1, &ORIGINS))?,
            previous: r.option(|r| r.u64().map(RulesetHash))?,
            force_reason: r.text()?.into(),
            overridden: r.list(TEXT_BYTES_MIN, |r| r.text().map(Arc::from))?,
        })
    })
}

/// What a revision has that can be paused: ids by kind.
pub fn encode_pausable(ids: &[Vec<Arc<str>>; 4]) -> Vec<u8> {
    encoded(|w| {
        for ids in ids {
            w.list(ids, |w, id| w.text(id));
        }
    })
}

/// Reads what a revision has that can be paused.
///
/// # Errors
/// The bytes are not exactly one encoding of ids.
pub fn decode_pausable(bytes: &[u8]) -> Result<[Vec<Arc<str>>; 4], StoreError> {
    decoded("the ids of a revision", bytes, |r| {
        let mut ids: [Vec<Arc<str>>; 4] = Default::default();
        for ids in &mut ids {
            *ids = r.list(TEXT_BYTES_MIN, |r| r.text().map(Arc::from))?;
        }
        Ok(ids)
    })
}

fn encoded(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let w = &mut Writer::new(&mut bytes);
    w.u8(VERSION);
    write(w);
    bytes
}

fn decoded<T>(
    what: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let r = &mut Reader::new(what, bytes);
    r.version(VERSION)?;
    let noun = read(r)?;
    r.end()?;
    Ok(noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_cut_is_refused<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, StoreError>) {
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let pause = |kind, id: &str| Pause {
            kind,
            id: id.into(),
            reason: "wrong price".into(),
            author: "ann".into(),
            since: Timestamp(-5),
        };
        let pauses = Pauses::default().with(pause(PauseKind::Offer, "winback")).with(pause(PauseKind::Channel, "web"));
        assert_eq!(decode_pauses(&encode_pauses(&pauses)).unwrap(), pauses);
        every_cut_is_refused(&encode_pauses(&pauses), decode_pauses);

        let entry = AuditEntry {
            number: 7,
            at: Timestamp(9),
            author: "ann".into(),
            action: AuditAction::Rollback,
            subject: "0123".into(),
            reason: "it was better".into(),
            origin: Some(RevisionOrigin::Rollback),
            previous: Some(RulesetHash(3)),
            force_reason: "".into(),
            overridden: vec!["a".into(), "b".into()],
        };
        assert_eq!(decode_audit(7, &encode_audit(&entry)).unwrap(), entry);
        every_cut_is_refused(&encode_audit(&entry), |bytes| decode_audit(7, bytes));

        let ids = [vec!["a".into(), "b".into()], vec![], vec!["g".into()], vec!["web".into()]];
        assert_eq!(decode_pausable(&encode_pausable(&ids)).unwrap(), ids);
    }

    #[test]
    fn revisions_are_read_back() {
        let revision = Revision {
            hash: RulesetHash(u64::MAX),
            author: "ann".into(),
            comment: "more winter".into(),
            created_at: Timestamp(1),
            parent: Some(RulesetHash(2)),
            origin: RevisionOrigin::Api,
            force_reason: "we know".into(),
            activated_at: Timestamp(3),
            replaced_at: None,
            offers: 39,
            files: 4,
            bytes: 1 << 40,
        };
        assert_eq!(decode_revision(&encode_revision(&revision)).unwrap(), revision);
        every_cut_is_refused(&encode_revision(&revision), decode_revision);
        let activation = Activation { hash: RulesetHash(1), at: Timestamp(2), ..Activation::default() };
        assert_eq!(decode_activation(&encode_activation(&activation)).unwrap(), activation);
    }
}
