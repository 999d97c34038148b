use std::time::Duration;

use crate::{
    domain::{OutcomeType, Reason},
    grpc::convert::tests::answered,
};

use super::*;

#[test]
fn what_is_counted_is_rendered() {
    let metrics = Metrics::new();
    let decision = answered();
    metrics.decided((Class::Interactive, &decision), &[(Reason::Paused, 3)], Duration::from_micros(80), |_| None);
    metrics.decided((Class::Interactive, &decision), &[], Duration::from_micros(80), |_| None);
    metrics.decided((Class::Batch, &decision), &[], Duration::from_micros(80), |_| None);
    metrics.outcome(OutcomeType::Click);
    metrics.reloaded(2);
    metrics.refused(2);
    metrics.request_error(3);
    metrics.upkeep();
    let text = metrics.render();
    for line in [
        "rapport_decisions_total{channel=\"web\",level=\"full\",result=\"ok\",class=\"interactive\"} 2",
        "rapport_decisions_total{channel=\"web\",level=\"full\",result=\"ok\",class=\"batch\"} 1",
        "rapport_decide_seconds_bucket{le=\"0.0001\"} 2",
        "rapport_decide_seconds_bucket{le=\"0.00005\"} 0",
        "rapport_suppressed_total{reason=\"paused\"} 3",
        "rapport_outcomes_total{type=\"click\"} 1",
        "rapport_ruleset_reloads_total{result=\"refused\"} 1",
        "rapport_ruleset_refused_errors 2",
        "rapport_request_errors_total{code=\"INVALID_ARGUMENT\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn channels_beyond_the_bound_share_a_label() {
    let metrics = Metrics::new();
    let mut decision = answered();
    for n in 0..2 * names::CHANNELS_MAX {
        decision.placements[0].presentations[0].channel = format!("c{n}").into();
        metrics.decided((Class::Interactive, &decision), &[], Duration::ZERO, |_| None);
    }
    let text = metrics.render();
    let series = text.lines().filter(|line| line.starts_with(names::DECISIONS)).count();
    assert!(series <= names::CHANNELS_MAX + 1, "{series} series");
    assert!(text.contains("channel=\"other\""));
}

#[test]
fn every_name_has_a_help_text_and_the_prefix() {
    let metrics = Metrics::new();
    metrics.decided((Class::Interactive, &answered()), &[], Duration::ZERO, |_| None);
    let text = metrics.render();
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap_or_default();
        assert!(name.starts_with("rapport_"), "{name}");
        assert!(names::HELP.iter().any(|(known, _)| *known == name), "{name} has no help");
    }
}

#[test]
fn calls_to_redis_are_counted() {
    let metrics = Metrics::new();
    let redis = metrics.redis(&["get", "script"], &["ok", "timeout"]);
    let first = redis.begin();
    drop(redis.begin());
    redis.call(0, "ok", Duration::from_micros(80));
    redis.call(1, "timeout", Duration::from_millis(20));
    redis.call(1, "unheard of", Duration::ZERO);
    redis.call(9, "ok", Duration::ZERO);
    redis.breaker(2);
    redis.rebuilt(true);
    redis.rebuilt(false);
    metrics.upkeep();
    let text = metrics.render();
    for line in [
        "rapport_redis_calls_total{kind=\"get\",result=\"ok\"} 1",
        "rapport_redis_calls_total{kind=\"script\",result=\"timeout\"} 1",
        "rapport_redis_calls_total{kind=\"script\",result=\"ok\"} 0",
        "rapport_redis_call_seconds_bucket{kind=\"get\",le=\"0.0001\"} 1",
        "rapport_redis_call_seconds_bucket{kind=\"get\",le=\"0.00005\"} 0",
        "rapport_redis_calls_in_flight 1",
        "rapport_redis_breaker_state 2",
        "rapport_redis_connections_total{result=\"ok\"} 1",
        "rapport_redis_connections_total{result=\"failed\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("unheard of"));
    drop(first);
    assert!(metrics.render().contains("rapport_redis_calls_in_flight 0"));
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap_or_default();
        assert!(names::HELP.iter().any(|(known, _)| *known == name), "{name} has no help");
    }
}
