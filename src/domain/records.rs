//! The records of a customer: accounts, subscriptions, cases.

use super::{AttrId, Profile, RecordRef, Value, profile::RecordChange};

impl Profile {
    /// The records of a list that are not removed, by key, with their fields.
    pub fn records_of(&self, list: AttrId) -> impl Iterator<Item = (&str, &[(AttrId, Value)])> {
        let first = self.records.partition_point(|record| record.change.list < list);
        let of_list = self.records[first..].iter().take_while(move |record| record.change.list == list);
        of_list.filter_map(|record| Some((&*record.change.key, &record.change.fields.as_ref()?[..])))
    }

    /// Where the records of a list stand that are not removed, in order of their
    /// keys, at most so many: indices into the records.
    pub fn places_of(&self, list: AttrId, max: u16) -> impl Iterator<Item = u16> + use<'_> {
        let first = self.records.partition_point(|record| record.change.list < list);
        let of_list = (first..self.records.len()).take_while(move |at| self.records[*at].change.list == list);
        let held = of_list.filter(|at| self.records[*at].change.fields.is_some());
        // INVARIANT: there are far fewer than 2^16, see `RECORDS_MAX`
        held.take(usize::from(max)).map(|at| at as u16)
    }

    /// What was last said of the record at a place.
    pub fn record_at(&self, place: Option<u16>) -> Option<&RecordChange> {
        self.records.get(usize::from(place?)).map(|record| &record.change)
    }

    /// The name of the record at a place, for what is said of it.
    pub fn record_ref(&self, place: Option<u16>) -> RecordRef {
        self.record_at(place).map_or(RecordRef::NONE, |record| RecordRef::of(record.list, &record.key))
    }

    /// The key of the record with a name; also of one that is removed.
    pub fn key_of(&self, record: RecordRef) -> Option<&str> {
        let mut named = self.records.iter().map(|stored| &stored.change).filter(|_| record.is_some());
        named.find(|change| RecordRef::of(change.list, &change.key) == record).map(|change| &*change.key)
    }

    /// A field of a record.
    pub fn record_field(&self, list: AttrId, key: &str, field: AttrId) -> Option<&Value> {
        let at = self.records.partition_point(|record| (record.change.list, &*record.change.key) < (list, key));
        let record = self.records.get(at).filter(|record| record.change.list == list && *record.change.key == *key)?;
        let fields = record.change.fields.as_ref()?;
        let at = fields.binary_search_by_key(&field, |field| field.0).ok()?;
        Some(&fields[at].1)
    }
}
