//! The rules and pauses that replicas share, as they lie in Redis.

use std::time::Instant;

use redis::Value;

use super::{
    Remote, StoreError, codec, joining,
    redis::{
        Client, Failure, Keys, Swapped, Version, Versioned, keys::REVISION_TTL_MS, scripts::COMPARE_AND_SET,
        scripts_service::PUBLISH,
    },
};
use crate::{
    domain::{Activation, Pauses, RulesetHash},
    rules::SourceFile,
};

/// The active revision of all replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedActive {
    /// Counts the activations.
    pub version: Version,
    /// The last of them.
    pub activation: Activation,
}

/// The pauses of all replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedPauses {
    /// Counts their changes; 0 when there are none in Redis.
    pub version: Version,
    /// What is paused.
    pub pauses: Pauses,
}

/// A change that another replica was quicker with: what is there now, if
/// anything.
pub type Raced<T> = Result<(), Option<T>>;

/// What is shared of the rules. Cheap to make.
#[derive(Clone, Copy)]
pub struct RulesShared<'a> {
    client: &'a Client,
    keys: &'a Keys,
}

impl Remote {
    /// What is shared of the rules.
    pub fn rules(&self) -> RulesShared<'_> {
        RulesShared { client: &self.client, keys: &self.keys }
    }

    /// Waits for calls to Redis on a thread of their own. Blocking.
    ///
    /// # Errors
    /// No thread.
    pub fn wait<T: Send>(&self, calls: impl Future<Output = T> + Send) -> Result<T, StoreError> {
        joining::on_runtime(async { Ok(calls.await) })
    }
}

impl<'a> RulesShared<'a> {
    pub(super) fn over(client: &'a Client, keys: &'a Keys) -> Self {
        Self { client, keys }
    }

    /// The versions of the active revision and of the pauses; 0 where there is
    /// none.
    ///
    /// # Errors
    /// An outage.
    pub async fn versions(&self, deadline: Instant) -> Result<(Version, Version), Failure> {
        let mut both = redis::pipe();
        both.cmd("GETRANGE").arg(self.keys.active_ruleset()).arg(0).arg(7);
        both.cmd("GETRANGE").arg(self.keys.pauses()).arg(0).arg(7);
        let version = |answer: Result<Value, Failure>| match answer? {
            Value::BulkString(bytes) if bytes.is_empty() => Ok(Version(0)),
            Value::BulkString(bytes) => Ok(Versioned::decode(&bytes)?.version),
            _ => Err(Failure::shape("a version")),
        };
        let mut answers = self.client.pipeline(&both, deadline).await?.into_iter();
        let mut next = || version(answers.next().unwrap_or_else(|| Err(Failure::shape("two versions"))));
        Ok((next()?, next()?))
    }

    /// The active revision; none when there is none yet.
    ///
    /// # Errors
    /// An outage, or what is there cannot be read.
    pub async fn active(&self, deadline: Instant) -> Result<Option<SharedActive>, Failure> {
        let value = self.client.get(&self.keys.active_ruleset(), deadline).await?;
        value.map(|value| active_of(Versioned::decode(&value)?)).transpose()
    }

    /// The files of a revision; none when it is not kept.
    ///
    /// # Errors
    /// An outage, or what is there cannot be read.
    pub async fn files(&self, hash: RulesetHash, deadline: Instant) -> Result<Option<Vec<SourceFile>>, Failure> {
        let value = self.client.get(&self.keys.revision(hash), deadline).await?;
        value.map(|bytes| codec::decode_rule_files(&bytes).map_err(unreadable)).transpose()
    }

    /// Makes a revision the active one of all replicas, if what is active has the
    /// expected version.
    ///
    /// # Errors
    /// An outage; it may have run.
    pub async fn publish(
        &self,
        expected: Version,
        next: &SharedActive,
        files: &[SourceFile],
        deadline: Instant,
    ) -> Result<Raced<SharedActive>, Failure> {
        let activation = &next.activation;
        let value = Versioned { version: next.version, blob: codec::encode_activation(activation) }.encode();
        let mut blob = Vec::new();
        codec::encode_rule_files(files, &mut blob);
        let keys = [
            self.keys.active_ruleset(),
            self.keys.revision(activation.hash),
            self.keys.revision(activation.parent.unwrap_or(activation.hash)),
        ];
        let ttl = REVISION_TTL_MS.to_string();
        let arguments = [&expected.expected()[..], &value, &blob, ttl.as_bytes()];
        let answer = self.client.script(&PUBLISH, &keys.each_ref().map(|key| &key[..]), &arguments, deadline).await?;
        match Swapped::read(answer)? {
            Swapped::Won => Ok(Ok(())),
            Swapped::Lost(found) => Ok(Err(found.map(active_of).transpose()?)),
        }
    }

    /// What is paused; nothing with version 0 when there is none yet.
    ///
    /// # Errors
    /// An outage, or what is there cannot be read.
    pub async fn pauses(&self, deadline: Instant) -> Result<SharedPauses, Failure> {
        let value = self.client.get(&self.keys.pauses(), deadline).await?;
        value.map_or(Ok(SharedPauses::default()), |value| pauses_of(Versioned::decode(&value)?))
    }

    /// Replaces what is paused, if it has the expected version.
    ///
    /// # Errors
    /// An outage; it may have run.
    pub async fn swap_pauses(
        &self,
        expected: Version,
        next: &SharedPauses,
        deadline: Instant,
    ) -> Result<Raced<SharedPauses>, Failure> {
        let value = Versioned { version: next.version, blob: codec::encode_pauses(&next.pauses) }.encode();
        let arguments = [&expected.expected()[..], &value, b"", b"0", b"0"];
        let answer = self.client.script(&COMPARE_AND_SET, &[&self.keys.pauses()], &arguments, deadline).await?;
        match Swapped::read(answer)? {
            Swapped::Won => Ok(Ok(())),
            Swapped::Lost(found) => Ok(Err(found.map(pauses_of).transpose()?)),
        }
    }
}

fn unreadable(error: StoreError) -> Failure {
    Failure::Mistake { code: "shape".to_owned(), text: error.to_string() }
}

fn active_of(value: Versioned) -> Result<SharedActive, Failure> {
    let activation = codec::decode_activation(&value.blob).map_err(unreadable)?;
    Ok(SharedActive { version: value.version, activation })
}

fn pauses_of(value: Versioned) -> Result<SharedPauses, Failure> {
    let pauses = codec::decode_pauses(&value.blob).map_err(unreadable)?;
    Ok(SharedPauses { version: value.version, pauses })
}

/// What the replicas serve, as a start found it.
#[derive(Clone, Debug)]
pub struct SharedRules {
    /// What is active, with its files.
    pub active: Option<(SharedActive, Vec<SourceFile>)>,
    /// What is paused.
    pub pauses: SharedPauses,
}

/// What the replicas serve; none when that cannot be read now.
pub(super) async fn found(client: &Client, keys: &Keys, deadline: Instant) -> Option<SharedRules> {
    let rules = RulesShared::over(client, keys);
    let read = async {
        let active = match rules.active(deadline).await? {
            None => None,
            Some(active) => rules.files(active.activation.hash, deadline).await?.map(|files| (active, files)),
        };
        Ok::<_, Failure>(SharedRules { active, pauses: rules.pauses(deadline).await? })
    };
    read.await.inspect_err(|error| tracing::warn!(%error, "the rules that replicas share could not be read")).ok()
}
