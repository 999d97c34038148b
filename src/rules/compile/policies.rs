//! `policies`: limits, suppressions, decline reasons, holdout, exploration.

use std::sync::Arc;

use crate::{
    domain::{ChannelSlot, GroupSlot, OutcomeType, ReasonCode, time::DAY_US},
    rules::{
        DeclineReason, Limit, ReachLimits, Suppression,
        keys_offers::{DECLINE_REASON, EXPLORATION, HOLDOUT, LIMIT, POLICIES, PROPENSITY},
        read::Fields,
        report::{Noun, Report},
        source::{Mark, Node},
    },
};

use super::{
    declare::{Names, TopLevel, check_hashes, declared},
    limits::{LimitNames, limit, suppressions},
    reach,
};

/// How long something that follows is an outcome where nothing is given,
/// microseconds.
const ATTRIBUTION_US: i64 = 14 * DAY_US;
/// What the preference of a wished channel is multiplied with where nothing is
/// given.
const WISHED_CHANNEL_WEIGHT: f64 = 1.25;
/// Trials the base rate counts for where nothing is given.
const PRIOR_TRIALS: f64 = 50.0;
/// Largest number of trials the base rate may count for.
const PRIOR_TRIALS_MAX: f64 = 1e9;

/// The policies.
#[derive(Debug)]
pub struct Policies {
    /// Limits, without slots.
    pub limits: Vec<Limit>,
    /// Suppressions.
    pub suppressions: Vec<Suppression>,
    /// Decline reasons by code.
    pub decline_reasons: Vec<DeclineReason>,
    /// Where the decline reasons stand.
    pub reason_marks: Vec<Mark>,
    /// Decline reasons by name.
    pub reason_names: Names<ReasonCode>,
    /// Share of people held out.
    pub holdout_share: f64,
    /// Salt of the holdout hash.
    pub holdout_salt: Arc<str>,
    /// Share of decisions that explore.
    pub exploration_share: f64,
    /// Trials that the prior of a propensity counts for.
    pub prior_trials: f64,
    /// How long after a presentation something that follows is its outcome,
    /// microseconds.
    pub attribution_us: i64,
    /// What the preference of a channel is multiplied with that a customer wishes.
    pub wished_channel_weight: f64,
    /// Reach limits, without those of single offers.
    pub reach: ReachLimits,
}

impl Policies {
    /// Reads the policies; without any, nothing is limited.
    pub fn read(
        report: &mut Report<'_>,
        top: &TopLevel<'_>,
        (channels, groups): (&Names<ChannelSlot>, &Names<GroupSlot>),
    ) -> Self {
        let mut policies = Self {
            limits: Vec::new(),
            suppressions: Vec::new(),
            decline_reasons: Vec::new(),
            reason_marks: Vec::new(),
            reason_names: Names::new(Noun::DeclineReason, []),
            holdout_share: 0.0,
            holdout_salt: "holdout".into(),
            exploration_share: 0.0,
            prior_trials: PRIOR_TRIALS,
            attribution_us: ATTRIBUTION_US,
            wished_channel_weight: WISHED_CHANNEL_WEIGHT,
            reach: ReachLimits::default(),
        };
        let Some(node) = top.single(report, "policies") else { return policies };
        let Some(fields) = report.fields(node, &POLICIES) else {
            report.lose(Noun::DeclineReason);
            return policies;
        };
        let reasons = fields.get("decline_reasons").map(|n| decline_reasons(report, n)).unwrap_or_default();
        (policies.decline_reasons, policies.reason_marks) = reasons.into_iter().unzip();
        let known = policies.decline_reasons.iter().map(|reason| (reason.code.clone(), reason.id));
        policies.reason_names = Names::new(Noun::DeclineReason, known);
        let names = LimitNames { channels, groups, reasons: &policies.reason_names };
        policies.limits = fields.get("limits").map(|node| limits(report, node, &names)).unwrap_or_default();
        policies.suppressions =
            fields.get("suppress").map(|node| suppressions(report, node, None, &names)).unwrap_or_default();
        policies.shares(report, &fields);
        if let Some(us) = fields.get("attribution").and_then(|node| report.duration(node)) {
            policies.attribution_us = us;
        }
        if let Some(weight) = fields.get("wished_channel_weight").and_then(|node| report.number(node, 1.0..=100.0)) {
            policies.wished_channel_weight = weight;
        }
        if let Some(node) = fields.get("reach") {
            policies.reach = reach::limits(report, node);
        }
        policies
    }

    /// Notes decline reasons that nothing follows from: an offer declined for such
    /// a reason would be shown again at once. Judged only when all else is right.
    pub fn check_reasons(
        report: &mut Report<'_>,
        (reasons, marks): (&[DeclineReason], &[Mark]),
        suppressions: &[Suppression],
    ) {
        let declines = || suppressions.iter().filter(|s| s.outcome == OutcomeType::Decline);
        let clean = report.is_clean();
        for (reason, mark) in reasons.iter().zip(marks) {
            if clean && !declines().any(|s| s.reason.is_none_or(|wanted| wanted == reason.id)) {
                let message = format!(
                    "nothing is suppressed after a decline with `{}`: add a suppression `after: decline`",
                    reason.code
                );
                report.error(*mark, message);
            }
        }
    }

    fn shares(&mut self, report: &mut Report<'_>, fields: &Fields<'_>) {
        if let Some(fields) = fields.get("holdout").and_then(|node| report.fields(node, &HOLDOUT)) {
            let share = fields.get("share").and_then(|node| report.number(node, 0.0..=1.0));
            self.holdout_share = share.unwrap_or_default();
            if let Some(salt) = fields.get("salt").and_then(|node| report.label(node)) {
                self.holdout_salt = salt;
            }
        }
        if let Some(fields) = fields.get("exploration").and_then(|node| report.fields(node, &EXPLORATION)) {
            let share = fields.get("share").and_then(|node| report.number(node, 0.0..=1.0));
            self.exploration_share = share.unwrap_or_default();
        }
        if let Some(fields) = fields.get("propensity").and_then(|node| report.fields(node, &PROPENSITY)) {
            let trials = fields.get("prior_trials");
            let trials = trials.and_then(|node| report.number(node, f64::MIN_POSITIVE..=PRIOR_TRIALS_MAX));
            self.prior_trials = trials.unwrap_or(PRIOR_TRIALS);
        }
    }
}

fn limits(report: &mut Report<'_>, node: &Node, names: &LimitNames<'_>) -> Vec<Limit> {
    let nodes = report.list(node).unwrap_or_default();
    let all = declared(report, nodes, &LIMIT, Noun::Limit);
    all.iter().map(|declared| limit(report, &declared.fields, (declared.id.clone(), None), names)).collect()
}

fn decline_reasons(report: &mut Report<'_>, node: &Node) -> Vec<(DeclineReason, Mark)> {
    let nodes = report.list(node).unwrap_or_default();
    let all = declared(report, nodes, &DECLINE_REASON, Noun::DeclineReason);
    // 0 stands for no reason.
    let none = (ReasonCode(0), Arc::from(""), Default::default());
    let names = all.iter().map(|d| (ReasonCode::of(&d.id), d.id.clone(), d.id_mark));
    check_hashes(report, Noun::DeclineReason, std::iter::once(none).chain(names));
    let mut reasons = Vec::new();
    for declared in all {
        let labels = declared.fields.get("label").map(|node| labels(report, node)).unwrap_or_default();
        let reason = DeclineReason { id: ReasonCode::of(&declared.id), code: declared.id, labels };
        reasons.push((reason, declared.id_mark));
    }
    reasons
}

fn labels(report: &mut Report<'_>, node: &Node) -> Vec<(Arc<str>, Arc<str>)> {
    let mut labels = Vec::new();
    for (key, value) in report.entries(node).unwrap_or_default() {
        if let (Some(language), Some(label)) = (report.language(key.mark, &key.text), report.label(value)) {
            labels.push((language, label));
        }
    }
    labels.sort();
    labels
}
