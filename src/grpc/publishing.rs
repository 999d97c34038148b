//! The calls that change the rules, and those that stop things at once. Their
//! work runs off the serving threads.

use std::sync::Arc;

use tonic::Status;

use crate::{
    app::{App, AppError, LongWork},
    domain::RulesetHash,
    proto,
};

use super::{
    Api,
    convert::{
        population,
        revision::{self, Fields},
        ruleset::page_size,
    },
};

type Answer<T> = Result<T, Status>;

fn interrupted() -> AppError {
    AppError::Unavailable("the work was interrupted: ask again".to_owned())
}

impl Api {
    async fn off_the_worker<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, AppError> + Send + 'static,
    ) -> Answer<T> {
        let app = Arc::clone(self.app());
        let done = tokio::task::spawn_blocking(move || work(&app)).await;
        Ok(done.map_err(|_| interrupted())??)
    }

    /// As [`Api::off_the_worker`], for what compiles rules: it takes seconds of a
    /// core, which serving needs more.
    async fn gently<T: Send + 'static>(
        &self,
        kind: LongWork,
        work: impl FnOnce(&App) -> Result<T, AppError> + Send + 'static,
    ) -> Answer<T> {
        Ok(self.app().run_long(kind, work).await?)
    }

    fn active_hash(&self) -> RulesetHash {
        self.app().current().ruleset.hash
    }

    /// Stops a thing at once.
    ///
    /// # Errors
    /// As [`App::pause`]; every violation.
    pub async fn pause(&self, wire: proto::PauseRequest) -> Answer<proto::PauseResponse> {
        let pause = revision::read_pause(&wire)?;
        let paused = self.off_the_worker(move |app| app.pause(pause)).await?;
        Ok(proto::PauseResponse {
            pause: Some(revision::pause(&paused.pause)),
            changed: paused.changed,
            pauses_version: paused.version,
            reservations_released: u32::try_from(paused.released).unwrap_or(u32::MAX),
        })
    }

    /// Lifts a pause.
    ///
    /// # Errors
    /// As [`App::resume`]; every violation.
    pub async fn resume(&self, wire: proto::ResumeRequest) -> Answer<proto::ResumeResponse> {
        let input = revision::read_resume(&wire)?;
        let resumed = self.gently(LongWork::Change, move |app| app.resume(&input)).await?;
        Ok(proto::ResumeResponse {
            changed: resumed.changed,
            pauses_version: resumed.version,
            report: Some(revision::report(&resumed.report)),
        })
    }

    /// What is paused.
    pub fn pauses(&self) -> proto::ListPausesResponse {
        revision::pauses(&self.app().pauses())
    }

    /// Checks rule files and changes nothing.
    ///
    /// # Errors
    /// Every violation of the request; what is wrong with the rules is in the
    /// report.
    pub async fn validate_revision(
        &self,
        wire: proto::ValidateRevisionRequest,
    ) -> Answer<proto::ValidateRevisionResponse> {
        let mut fields = Fields::default();
        let files = fields.files(wire.files);
        let files = fields.done(files)?;
        let report = self.gently(LongWork::Trial, move |app| Ok(app.validate(&files))).await?;
        Ok(proto::ValidateRevisionResponse { acceptable: report.acceptable(), report: Some(revision::report(&report)) })
    }

    /// Whom the changed offers of edited rules reach.
    ///
    /// # Errors
    /// Every violation of the request; mistakes in the rules are in the answer.
    pub async fn evaluate_reach(&self, wire: proto::EvaluateReachRequest) -> Answer<proto::EvaluateReachResponse> {
        let mut fields = Fields::default();
        let files = fields.files(wire.files);
        let files = fields.done(files)?;
        let reached = self.gently(LongWork::Trial, move |app| app.evaluate_reach(&files)).await?;
        Ok(match reached {
            Ok(reach) => population::reach(&reach),
            Err(errors) => proto::EvaluateReachResponse { errors, ..Default::default() },
        })
    }

    /// Publishes rule files.
    ///
    /// # Errors
    /// As [`App::publish`]; every violation.
    pub async fn publish_revision(
        &self,
        wire: proto::PublishRevisionRequest,
    ) -> Answer<proto::PublishRevisionResponse> {
        let (files, change) = revision::read_publish(wire)?;
        let published = self.gently(LongWork::Change, move |app| app.publish(&files, &change)).await?;
        Ok(revision::published(&published))
    }

    /// Makes a kept revision active again.
    ///
    /// # Errors
    /// As [`App::rollback`]; every violation.
    pub async fn rollback_revision(
        &self,
        wire: proto::RollbackRevisionRequest,
    ) -> Answer<proto::RollbackRevisionResponse> {
        let (hash, change) = revision::read_rollback(&wire)?;
        let published = self.gently(LongWork::Change, move |app| app.rollback(hash, &change)).await?;
        let proto::PublishRevisionResponse { revision, changed, report } = revision::published(&published);
        Ok(proto::RollbackRevisionResponse { revision, changed, report })
    }

    /// A page of the kept revisions. A page token is the number of revisions
    /// seen.
    ///
    /// # Errors
    /// A page size under 0, a token that is none.
    pub async fn revisions(&self, wire: proto::ListRevisionsRequest) -> Answer<proto::ListRevisionsResponse> {
        let size = page_size(wire.page_size)?;
        let seen = position(&wire.page_token)?.unwrap_or(0);
        let active = self.active_hash();
        let revisions = self.off_the_worker(App::revisions).await?;
        let seen = usize::try_from(seen).unwrap_or(usize::MAX);
        let page: Vec<_> = revisions.iter().skip(seen).take(size).map(|r| revision::revision(r, active)).collect();
        let end = seen.saturating_add(page.len());
        let next_page_token = if end < revisions.len() { end.to_string() } else { String::new() };
        Ok(proto::ListRevisionsResponse { revisions: page, next_page_token })
    }

    /// A kept revision with its files.
    ///
    /// # Errors
    /// It is not kept; a hash that is none.
    pub async fn get_revision(&self, wire: proto::GetRevisionRequest) -> Answer<proto::GetRevisionResponse> {
        let mut fields = Fields::default();
        let hash = fields.revision("revision", &wire.revision);
        let active = self.active_hash();
        let hash = fields.done(hash.unwrap_or(active))?;
        let kept = self.off_the_worker(move |app| app.kept_revision(hash)).await?;
        Ok(revision::kept(kept, active))
    }

    /// What differs between two kept revisions.
    ///
    /// # Errors
    /// One is not kept or does not compile any more; a hash that is none.
    pub async fn diff_revisions(&self, wire: proto::DiffRevisionsRequest) -> Answer<proto::DiffRevisionsResponse> {
        let mut fields = Fields::default();
        let active = self.active_hash();
        let (from, to) = (fields.revision("from", &wire.from), fields.revision("to", &wire.to));
        let (from, to) = fields.done((from.unwrap_or(active), to.unwrap_or(active)))?;
        let diff = self.gently(LongWork::Trial, move |app| app.diff(from, to)).await?;
        Ok(revision::diff(diff))
    }

    /// A page of the audit list. A page token is the number of the last entry
    /// seen, so that a page stays right when entries come.
    ///
    /// # Errors
    /// A page size under 0, a token that is none.
    pub async fn audit(&self, wire: proto::ListAuditRequest) -> Answer<proto::ListAuditResponse> {
        let size = page_size(wire.page_size)?;
        let before = position(&wire.page_token)?.unwrap_or(u64::MAX);
        let mut entries = self.off_the_worker(move |app| app.audit(before, size + 1)).await?;
        let more = entries.len() > size;
        entries.truncate(size);
        let last = entries.last().filter(|_| more).map(|entry| entry.number.to_string());
        Ok(proto::ListAuditResponse {
            entries: entries.iter().map(revision::audit).collect(),
            next_page_token: last.unwrap_or_default(),
        })
    }
}

fn position(token: &str) -> Result<Option<u64>, AppError> {
    if token.is_empty() {
        return Ok(None);
    }
    let wrong = |_| AppError::invalid("page_token", "is not a token of this list: give `next_page_token`, or none");
    token.parse().map(Some).map_err(wrong)
}
