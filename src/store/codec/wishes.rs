//! What customers wish, and the records of lists.

use super::{
    Reader, Writer,
    parts::{read_present, write_value},
};
use crate::{
    domain::{AttrId, ChannelId, Preference, RecordChange},
    store::StoreError,
};

/// Fewest bytes of an entry.
pub(super) const PREFERENCE_BYTES_MIN: usize = 1;
pub(super) const RECORD_BYTES_MIN: usize = 6;
const FIELD_BYTES_MIN: usize = 5;

/// Numbers of preferences; one that was taken back has [`TAKEN_BACK`] too.
mod kind {
    pub const CHANNEL: u8 = 1;
    pub const LANGUAGE: u8 = 2;
    pub const QUIET_HOURS: u8 = 3;
    pub const CONTACTS_PER_WEEK: u8 = 4;
    pub const TAKEN_BACK: u8 = 128;
}

pub(super) fn write_preference(w: &mut Writer<'_>, preference: &Preference) {
    let number = |number: u8, given: bool| if given { number } else { number | kind::TAKEN_BACK };
    match preference {
        Preference::Channel(channel) => {
            w.u8(number(kind::CHANNEL, channel.is_some()));
            channel.iter().for_each(|channel| w.u32(channel.0));
        }
        Preference::Language(language) => {
            w.u8(number(kind::LANGUAGE, language.is_some()));
            language.iter().for_each(|language| w.text(language));
        }
        Preference::QuietHours(hours) => {
            w.u8(number(kind::QUIET_HOURS, hours.is_some()));
            if let Some((from, until)) = hours {
                w.varint((*from).into());
                w.varint((*until).into());
            }
        }
        Preference::ContactsPerWeek(most) => {
            w.u8(number(kind::CONTACTS_PER_WEEK, most.is_some()));
            most.iter().for_each(|most| w.varint((*most).into()));
        }
    }
}

pub(super) fn read_preference(r: &mut Reader<'_>) -> Result<Preference, StoreError> {
    let number = r.u8()?;
    let given = number & kind::TAKEN_BACK == 0;
    Ok(match number & !kind::TAKEN_BACK {
        kind::CHANNEL => Preference::Channel(when(given, || r.u32().map(ChannelId))?),
        kind::LANGUAGE => Preference::Language(when(given, || r.text().map(Into::into))?),
        kind::QUIET_HOURS => Preference::QuietHours(when(given, || Ok((r.narrow()?, r.narrow()?)))?),
        kind::CONTACTS_PER_WEEK => Preference::ContactsPerWeek(when(given, || r.narrow())?),
        _ => return Err(r.error(&format!("`{number}` is no preference"))),
    })
}

fn when<T>(given: bool, read: impl FnOnce() -> Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    if given { read().map(Some) } else { Ok(None) }
}

pub(super) fn write_record(w: &mut Writer<'_>, record: &RecordChange) {
    w.u32(record.list.0);
    w.text(&record.key);
    w.option(record.fields.as_deref(), |w, fields| {
        w.list(fields, |w, (id, value)| {
            w.u32(id.0);
            write_value(w, Some(value));
        });
    });
}

pub(super) fn read_record(r: &mut Reader<'_>) -> Result<RecordChange, StoreError> {
    Ok(RecordChange {
        list: AttrId(r.u32()?),
        key: r.text()?.into(),
        fields: r.option(|r| r.list(FIELD_BYTES_MIN, |r| Ok((AttrId(r.u32()?), read_present(r)?))))?,
    })
}
