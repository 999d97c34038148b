//! Merging customers, and taking it back.

use tonic::Status;

use crate::{
    app::{AppError, MergeInput},
    domain::{MergeId, Profile},
    proto,
    store::{Merge, MergeCause},
};

use super::{
    Api,
    convert::{
        customer::{self, Names, REASON_BYTES_MAX},
        reading::timestamp,
    },
};

impl Api {
    /// Makes one customer of two.
    ///
    /// # Errors
    /// As [`crate::app::App::merge`]; every violation.
    pub async fn merge(&self, wire: proto::MergeCustomersRequest) -> Result<proto::MergeCustomersResponse, Status> {
        let snapshot = self.app().current();
        let validate_only = wire.validate_only;
        let input = self.read(&snapshot, |mut reading| {
            let identities = reading.writers("identities", wire.identities);
            let others = reading.writers("others", wire.others);
            let reason = reading.text("reason", wire.reason, REASON_BYTES_MAX);
            reading.done(MergeInput { identities, others, reason, validate_only })
        })?;
        let merged = self.app().merge(input).await?;
        let merge = merged.merge.map(|merge| self.write_merge(&merge, validate_only));
        Ok(proto::MergeCustomersResponse { merge, consistency_token: merged.consistency_token })
    }

    /// The merges behind a customer.
    ///
    /// # Errors
    /// As [`crate::app::App::merges`]; every violation.
    pub async fn merges(&self, wire: proto::ListMergesRequest) -> Result<proto::ListMergesResponse, Status> {
        let snapshot = self.app().current();
        let identities = self.read(&snapshot, |mut reading| {
            let identities = reading.identities_required("", wire.identities);
            reading.done(identities)
        })?;
        let merges = self.app().merges(&identities).await?;
        Ok(proto::ListMergesResponse { merges: merges.iter().map(|merge| self.write_merge(merge, false)).collect() })
    }

    /// Takes a merge back.
    ///
    /// # Errors
    /// As [`crate::app::App::undo_merge`]; every violation.
    pub async fn undo_merge(&self, wire: proto::UndoMergeRequest) -> Result<proto::UndoMergeResponse, Status> {
        let snapshot = self.app().current();
        let (identities, id, reason) = self.read(&snapshot, |mut reading| {
            let identities = reading.writers("identities", wire.identities);
            let id = MergeId::parse(&wire.merge_id);
            if id.is_none() {
                reading.wrong("merge_id", "is not the id of a merge: give the `merge_id` of a listed one");
            }
            let reason = reading.text("reason", wire.reason, REASON_BYTES_MAX);
            reading.done((identities, id, reason))
        })?;
        let Some(id) = id else { return Err(AppError::invalid("merge_id", "is not the id of a merge").into()) };
        let undone = self.app().undo_merge(&identities, id, &reason).await?;
        let merge = undone.merge.map(|merge| self.write_merge(&merge, false));
        Ok(proto::UndoMergeResponse { merge, consistency_token: undone.consistency_token })
    }

    /// A merge on the wire; one that is not made has no id.
    fn write_merge(&self, merge: &Merge, validate_only: bool) -> proto::Merge {
        let snapshot = self.app().current();
        let item = |id| self.app().store.item_name(id);
        let names = Names { ruleset: &snapshot.ruleset, item: &item, record: &|_| String::new() };
        let identities =
            |profile: &Profile| profile.identities.iter().map(|one| customer::identity(one, &names)).collect();
        let cause = match merge.cause {
            MergeCause::Identified => proto::MergeCause::Identified,
            MergeCause::Requested => proto::MergeCause::Requested,
        };
        proto::Merge {
            merge_id: if validate_only { String::new() } else { merge.id.to_string() },
            time: Some(timestamp(merge.at)),
            cause: cause as i32,
            reason: merge.reason.to_string(),
            survivor_identities: identities(&merge.survivor),
            absorbed_identities: identities(&merge.absorbed),
            undo_until: Some(timestamp(merge.undo_until())),
            undone: merge.undone.map(timestamp),
        }
    }
}
