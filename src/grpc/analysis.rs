//! The analysis of the whole base.

use crate::{
    app::SweepState,
    domain::Currency,
    predict::{Analysis, Quantiles},
    proto,
};

use super::{Api, convert::reading::timestamp};

impl Api {
    /// The latest analysis; starts one when asked to.
    pub fn analysis(&self, wire: &proto::GetAnalysisRequest) -> proto::GetAnalysisResponse {
        if wire.start {
            self.app().ask_for_sweep();
        }
        let SweepState { latest, running, progress } = self.app().sweep_state();
        let currency = self.app().current().ruleset.currency;
        let answer = latest.as_deref().map(|found| write(found, &currency)).unwrap_or_default();
        proto::GetAnalysisResponse { running, progress, ..answer }
    }
}

fn write(found: &Analysis, currency: &Currency) -> proto::GetAnalysisResponse {
    let name =
        |at: u16| found.segments.get(usize::from(at)).map_or_else(String::new, |segment| segment.name.to_string());
    let segments = found.segments.iter().map(|segment| proto::SegmentSize {
        segment: segment.name.to_string(),
        customers: segment.customers,
        entered: segment.entered,
        left: segment.left,
    });
    let overlaps = found.overlaps.iter().map(|overlap| proto::SegmentOverlap {
        segment: name(overlap.one),
        other: name(overlap.other),
        customers: overlap.customers,
    });
    proto::GetAnalysisResponse {
        time: Some(timestamp(found.at)),
        seconds: found.elapsed_us as f64 / 1e6,
        customers: found.customers,
        buyers: found.buyers,
        segments: segments.collect(),
        overlaps: overlaps.collect(),
        rfm: found.base.rfm.map(|rfm| proto::RfmQuantiles {
            recency_days: numbers(rfm.recency_days, f64::from),
            frequency: numbers(rfm.frequency, f64::from),
            monetary: numbers(rfm.monetary, |minor| currency.major(minor)),
        }),
        model: model(found),
        no_model: found.no_model.as_deref().unwrap_or_default().to_owned(),
        ..proto::GetAnalysisResponse::default()
    }
}

fn numbers<T: Copy>(quantiles: Quantiles<T>, number: impl Fn(T) -> f64) -> Vec<f64> {
    quantiles.0.into_iter().map(number).collect()
}

fn model(found: &Analysis) -> Option<proto::RepeatModel> {
    let (model, fitted) = (found.base.repeat?, found.fitted?);
    Some(proto::RepeatModel {
        r: model.r,
        alpha: model.alpha,
        a: model.a,
        b: model.b,
        standard_errors: fitted.standard_errors.map(Vec::from).unwrap_or_default(),
        log_likelihood: fitted.ln_likelihood,
        customers: fitted.customers,
        observed_until: Some(timestamp(found.base.observed_until)),
    })
}
