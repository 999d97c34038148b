//! The records of a customer: accounts, subscriptions, cases.

use super::{AttrId, Profile, Value};

impl Profile {
    /// The records of a list that are not removed, by key, with their fields.
    pub fn records_of(&self, list: AttrId) -> impl Iterator<Item = (&str, &[(AttrId, Value)])> {
        let first = self.records.partition_point(|record| record.change.list < list);
        let of_list = self.records[first..].iter().take_while(move |record| record.change.list == list);
        of_list.filter_map(|record| Some((&*record.change.key, &record.change.fields.as_ref()?[..])))
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
