//! Merges, merges taken back and erasures, as they change customers in Redis.

use std::time::Instant;

use crate::customer;
use crate::domain::{CustomerKey, MergeId, Profile};

use super::{
    entry::Entry,
    fold::{CALL, Fold, NotShipped, RACES_MAX, Told, profile_of},
    value::Value,
};

/// How long customers as before a merge are kept, milliseconds.
const BEFORE_KEPT_MS: u64 = 31 * 24 * 3_600 * 1_000;

impl Fold {
    /// Makes one of two customers, whoever lives on for them.
    pub async fn merge(
        &mut self,
        entry: &Entry,
        (survivor, absorbed): (CustomerKey, CustomerKey),
        merge: MergeId,
    ) -> Result<bool, NotShipped> {
        let one = self.told(entry)?;
        let mut told = Some(one.clone());
        for _ in 0..RACES_MAX {
            let (survivor, living) = self.living(survivor).await?;
            let (absorbed, taken) = self.living(absorbed).await?;
            if survivor == absorbed {
                break;
            }
            let (Some(living_profile), Some(taken_profile)) = (profile_of(&living), profile_of(&taken)) else {
                // lost, erased, or never heard of
                if self.restore(survivor).await? || self.restore(absorbed).await? {
                    continue;
                }
                break;
            };
            self.keep_before((survivor, living_profile), (absorbed, taken_profile), merge).await?;
            let merged = Value::Profile(Box::new(customer::merge(living_profile, taken_profile)));
            // what the other one holds, this one holds from now on
            let mut tells = self.held(absorbed).await?;
            tells.extend(told.clone());
            let tells: Vec<&Told> = tells.iter().collect();
            if let Some(known) = self.swap((survivor, living.version), merged, &tells).await? {
                if !known.is_empty() {
                    told = None;
                }
                continue;
            }
            told = None;
            // when something came in between, all of it again: merging twice is merging once
            if self.swap((absorbed, taken.version), Value::Moved(survivor), &[]).await?.is_none() {
                break;
            }
        }
        // what Redis holds already may never have been told: known by its id, it counts once
        self.tell(&one, None).await?;
        Ok(true)
    }

    /// Takes a merge back.
    pub async fn part(
        &mut self,
        entry: &Entry,
        (survivor, absorbed): (CustomerKey, CustomerKey),
        merge: MergeId,
    ) -> Result<bool, NotShipped> {
        let told = self.told(entry)?;
        for _ in 0..RACES_MAX {
            let now = self.known_now(survivor).await?;
            let before = self.before((survivor, absorbed), merge).await?;
            let (Some(profile), Some((one, other))) = (profile_of(&now), before) else { break };
            let (left, back) = customer::unmerge(profile, (&one, &other), &[]);
            // first the one who comes back, so that nobody is lost between the two
            let gone = self.known_now(absorbed).await?;
            let is_gone = gone.value == Some(Value::Moved(survivor)) || gone.value.is_none();
            let back = Value::Profile(Box::new(back));
            if is_gone && self.swap((absorbed, gone.version), back, &[]).await?.is_some() {
                continue;
            }
            match self.swap((survivor, now.version), Value::Profile(Box::new(left)), &[&told]).await? {
                Some(known) if known.is_empty() => {}
                Some(_) => break,
                None => return Ok(true),
            }
        }
        self.tell(&told, None).await?;
        Ok(false)
    }

    /// Leaves nothing of customers but that they were erased.
    pub async fn erase(&mut self, entry: &Entry, customers: &[CustomerKey]) -> Result<(), NotShipped> {
        for customer in customers {
            let mut races = 0;
            loop {
                let known = self.known_now(*customer).await?;
                if self.swap((*customer, known.version), Value::Erased, &[]).await?.is_none() {
                    break;
                }
                races += 1;
                if races > RACES_MAX {
                    return Err(NotShipped::Raced);
                }
            }
            let (ids, before) = (self.remote.keys.held_events(*customer), self.remote.keys.before_merges(*customer));
            self.remote.client.call(redis::cmd("DEL").arg(&ids[..]).arg(&before[..]), Instant::now() + CALL).await?;
        }
        let told = self.told(entry)?;
        // of nobody, or it would go with what there is of the customers
        self.tell(&told, None).await?;
        for customer in customers {
            self.forget_entries(*customer).await?;
        }
        Ok(())
    }

    /// Keeps both customers as they are before a merge, unless they are kept.
    async fn keep_before(
        &mut self,
        (survivor, living): (CustomerKey, &Profile),
        (absorbed, taken): (CustomerKey, &Profile),
        merge: MergeId,
    ) -> Result<(), NotShipped> {
        for (customer, profile) in [(survivor, living), (absorbed, taken)] {
            let key = self.remote.keys.before_merges(customer);
            let blob = Value::Profile(Box::new(profile.clone())).seal(&self.seal, &mut self.nonces, customer)?;
            let mut commands = redis::pipe();
            commands.cmd("HSETNX").arg(&key).arg(&merge.0.to_be_bytes()).arg(blob);
            commands.cmd("PEXPIRE").arg(&key).arg(BEFORE_KEPT_MS);
            for answer in self.remote.client.pipeline(&commands, Instant::now() + CALL).await? {
                answer?;
            }
        }
        Ok(())
    }

    async fn before(
        &mut self,
        (survivor, absorbed): (CustomerKey, CustomerKey),
        merge: MergeId,
    ) -> Result<Option<(Profile, Profile)>, NotShipped> {
        let mut found = Vec::with_capacity(2);
        for customer in [survivor, absorbed] {
            let key = self.remote.keys.before_merges(customer);
            let mut command = redis::cmd("HGET");
            command.arg(key).arg(&merge.0.to_be_bytes());
            let redis::Value::BulkString(blob) = self.remote.client.call(&command, Instant::now() + CALL).await? else {
                return Ok(None);
            };
            if let Value::Profile(profile) = Value::open(&self.seal, customer, &blob)? {
                found.push(*profile);
            }
        }
        match <[Profile; 2]>::try_from(found) {
            Ok([one, other]) => Ok(Some((one, other))),
            Err(_) => Ok(None),
        }
    }
}
