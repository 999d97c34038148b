//! Making one customer of two because somebody asks for it, looking at the
//! merges behind a customer, and taking one back.

use std::sync::Arc;

use crate::{
    customer,
    domain::{Identity, MergeId, Profile, Schema},
    store::{LeftOut, Merge, MergeCause, NotLinked, Receipt, ReceiptStatus, too_large},
};

use super::{App, AppError};

/// Two customers to be made one.
#[derive(Clone, Debug)]
pub struct MergeInput {
    /// Identities of the one.
    pub identities: Vec<Identity>,
    /// Identities of the other.
    pub others: Vec<Identity>,
    /// Why.
    pub reason: Box<str>,
    /// Check only.
    pub validate_only: bool,
}

/// What a merge, or taking it back, did.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The merge; `None` when both were one already.
    pub merge: Option<Arc<Merge>>,
    /// State of the customer who lives on; empty when nothing was done.
    pub consistency_token: String,
}

impl App {
    /// Makes one customer of two, whatever their identities say.
    ///
    /// # Errors
    /// Nobody, or more than one customer, has the identities of a side; together
    /// they would be too large; the log is full.
    pub async fn merge(&self, input: MergeInput) -> Result<Merged, AppError> {
        let one = self.known(&input.identities).await?;
        let other = self.known(&input.others).await.map_err(of_the_other)?;
        let now = self.clock.now();
        let id = MergeId(self.clock.decision_id(now).0);
        if input.validate_only {
            return would_merge((&one.profile, &other.profile), (id, now), input.reason);
        }
        let keys = (one.profile.key, other.profile.key);
        let receipt = self.store.merge(keys, (id, now), &input.reason).await;
        self.merged(receipt, id).await
    }

    /// The merges behind a customer, the newest first.
    ///
    /// # Errors
    /// As [`App::customer`].
    pub async fn merges(&self, identities: &[Identity]) -> Result<Vec<Arc<Merge>>, AppError> {
        let hot = self.known(identities).await?;
        Ok(self.store.merges(&hot.profile).await?)
    }

    /// Takes a merge back. Who lived on keeps what came since.
    ///
    /// # Errors
    /// As [`App::customer`]; there is no such merge, it was taken back before, or
    /// is more than 30 days old.
    pub async fn undo_merge(&self, identities: &[Identity], id: MergeId, reason: &str) -> Result<Merged, AppError> {
        let merges = self.merges(identities).await?;
        let Some(merge) = merges.iter().find(|merge| merge.id == id) else {
            return Err(AppError::NotFound(format!(
                "no merge `{id}` of this customer is kept: merges are kept for 30 days; list them"
            )));
        };
        let receipt = self.store.undo_merge(merge.survivor.key, (id, self.clock.now()), reason).await;
        self.merged(receipt, id).await
    }

    async fn merged(&self, receipt: Receipt, id: MergeId) -> Result<Merged, AppError> {
        let consistency_token = self.token_of_receipt(&receipt);
        match (receipt.status, receipt.customer) {
            (ReceiptStatus::Recorded, Some(key)) => {
                let hot = self.store.profile(key).await?;
                let merges = match &hot {
                    Some(hot) => self.store.merges(&hot.profile).await?,
                    None => Vec::new(),
                };
                let merge = merges.into_iter().find(|merge| merge.id == id);
                Ok(Merged { merge, consistency_token })
            }
            (ReceiptStatus::Refused(why), _) => Err(AppError::FailedPrecondition(why)),
            (ReceiptStatus::Exhausted, _) => {
                Err(AppError::Exhausted("the event log is full; free disk space, then send it again".to_owned()))
            }
            _ => Ok(Merged { merge: None, consistency_token }),
        }
    }

    /// What is told of identities that were left out of a write.
    pub(super) fn told_of(&self, left_out: &[LeftOut]) -> Vec<String> {
        if left_out.is_empty() {
            return Vec::new();
        }
        let snapshot = self.current();
        left_out.iter().map(|one| told(&snapshot.ruleset.schema, one)).collect()
    }
}

fn of_the_other(error: AppError) -> AppError {
    match error {
        AppError::NotFound(why) => AppError::NotFound(format!("`others`: {why}")),
        AppError::FailedPrecondition(why) => AppError::FailedPrecondition(format!("`others`: {why}")),
        error => error,
    }
}

fn would_merge(
    (one, other): (&Profile, &Profile),
    (id, at): (MergeId, crate::domain::Timestamp),
    reason: Box<str>,
) -> Result<Merged, AppError> {
    if one.key == other.key {
        return Ok(Merged { merge: None, consistency_token: String::new() });
    }
    if let Some(why) = too_large(one, other) {
        return Err(AppError::FailedPrecondition(why));
    }
    let (survivor, absorbed) = if customer::survivor(one, other) == one.key { (one, other) } else { (other, one) };
    let (survivor, absorbed) = (survivor.clone(), absorbed.clone());
    let cause = MergeCause::Requested;
    let merge = Merge { id, at, cause, reason, survivor, absorbed, joined: Vec::new(), undone: None };
    Ok(Merged { merge: Some(Arc::new(merge)), consistency_token: String::new() })
}

/// What is told of an identity that was left out.
fn told(schema: &Schema, left_out: &LeftOut) -> String {
    let def = schema.identities.iter().find(|def| def.id == left_out.kind);
    let name = def.map_or("?", |def| &*def.name);
    let why = match left_out.why {
        NotLinked::Single => "a person has one of a kind of identity of which there would be two",
        NotLinked::People => "an identity would join more people than it may",
        NotLinked::Identities => "one customer would have too many identities",
        NotLinked::Absorbed => "too many customers would have become one",
        NotLinked::Parted => "their merge was taken back; merge them by a call of its own, if they are one",
        NotLinked::Several => "several customers have it",
        NotLinked::Erased => "who had it was erased after this happened",
    };
    format!("the `{name}` is another customer's and was left out, nobody was merged: {why} (`{}`)", left_out.why.name())
}
