//! Erasing and exporting one customer.

use serde_json::json;
use tonic::{Code, Status};

use crate::{
    app::{AppError, EraseInput, Erased},
    proto,
    store::StoredDecision,
};

use super::{
    Api,
    convert::{
        customer::{self, Names, channel_name, offer_name},
        reading::timestamp,
        timeline::Personal,
        timeline_page,
    },
    structs::Struct,
};

impl Api {
    /// Erases a customer.
    ///
    /// # Errors
    /// As [`crate::app::App::erase`]; every violation.
    pub async fn erase(&self, wire: proto::EraseCustomerRequest) -> Result<proto::EraseCustomerResponse, Status> {
        let snapshot = self.app().current();
        let input = self.read(&snapshot, |mut reading| {
            let identities = reading.identities_required("", wire.identities);
            let reason = reading.text("reason", wire.reason, customer::REASON_BYTES_MAX);
            reading.done(EraseInput { identities, reason, validate_only: wire.validate_only })
        })?;
        Ok(receipt(self.app().erase(input).await?))
    }

    /// Everything that is kept of a customer, as one document.
    ///
    /// # Errors
    /// As [`crate::app::App::export_customer`]; every violation.
    pub async fn export_customer(
        &self,
        wire: proto::ExportCustomerRequest,
    ) -> Result<proto::ExportCustomerResponse, Status> {
        let snapshot = self.app().current();
        let merges = self.merges_of(wire.identities.clone()).await?;
        let identities = self.read(&snapshot, |mut reading| {
            let identities = reading.identities_required("", wire.identities);
            reading.done(identities)
        })?;
        let exported = self.app().export_customer(&identities).await?;
        let item = |id| self.app().store.item_name(id);
        let record = |record| customer::record_key(&exported.view.profile, record);
        let names = Names { ruleset: &snapshot.ruleset, item: &item, record: &record };
        let entries: Vec<_> =
            exported.timeline.iter().map(|entry| timeline_page::write(entry, &names, Personal::Shown)).collect();
        let document = json!({
            "customer": told(&customer::write(&exported.view, &names))?,
            "timeline": told(&entries)?,
            "moreTimeline": exported.more_timeline,
            "merges": merges,
            "decisions": exported.decisions.iter().map(|one| decision(one, &names)).collect::<Vec<_>>(),
            "moreDecisions": exported.more_decisions,
        });
        let document: Struct = serde_json::from_value(document).map_err(|error| unwritable(&error))?;
        Ok(proto::ExportCustomerResponse { document: Some(document) })
    }

    /// The merges of a customer.
    async fn merges_of(&self, identities: Vec<proto::Identity>) -> Result<serde_json::Value, Status> {
        match self.merges(proto::ListMergesRequest { identities }).await {
            Ok(listed) => told(&listed.merges),
            Err(status) if status.code() == Code::Unimplemented => Ok(json!([])),
            Err(status) => Err(status),
        }
    }
}

fn told(message: &impl serde::Serialize) -> Result<serde_json::Value, Status> {
    serde_json::to_value(message).map_err(|error| unwritable(&error))
}

fn unwritable(error: &serde_json::Error) -> Status {
    AppError::Unavailable(format!("writing the document of the customer: {error}")).into()
}

/// What a decision presented.
fn decision(stored: &StoredDecision, names: &Names<'_>) -> serde_json::Value {
    let record = &stored.record;
    let presented = record.winners.iter().map(|winner| {
        let placement = record.request.placements.get(usize::from(winner.placement));
        json!({
            "placement": placement.map_or("", |placement| &*placement.name),
            "offer": offer_name(names.ruleset, winner.offer),
            "channel": channel_name(names.ruleset, winner.channel),
        })
    });
    json!({
        "decisionId": record.id.to_string(),
        "time": serde_json::to_value(timestamp(record.now)).unwrap_or_default(),
        "presented": presented.collect::<Vec<_>>(),
    })
}

fn receipt(erased: Erased) -> proto::EraseCustomerResponse {
    let done = erased.id.is_some();
    proto::EraseCustomerResponse {
        erasure_id: erased.id.map_or_else(String::new, |id| id.to_string()),
        time: done.then(|| timestamp(erased.at)),
        removed: erased
            .removed
            .into_iter()
            .map(|(what, count)| proto::Removed { what: what.to_owned(), count })
            .collect(),
        remaining: erased
            .remaining
            .into_iter()
            .map(|(what, count, why)| proto::Remaining { what: what.to_owned(), count, why: why.to_owned() })
            .collect(),
        ack: if done { proto::AckStrength::Disk as i32 } else { 0 },
    }
}
