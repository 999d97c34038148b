//! What is counted of calls that are let in, wait, or are refused.

use std::time::Duration;

use metrics::{Counter, Histogram, Label};

use super::{Metrics, Recorder, names};

/// What a call counts as when not all can be answered: the first before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallClass {
    /// A person speaks with the customer and waits.
    CallCentre,
    /// The customer waits, at a page or an app.
    Web,
    /// Nobody waits: messages that are sent, streams, exports.
    Batch,
}

impl CallClass {
    /// Every class, the first one first.
    pub const ALL: [CallClass; 3] = [CallClass::CallCentre, CallClass::Web, CallClass::Batch];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            CallClass::CallCentre => "call_centre",
            CallClass::Web => "web",
            CallClass::Batch => "batch",
        }
    }
}

/// What became of a call; labels of [`names::ADMISSIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It was answered at once.
    Admitted,
    /// It was answered after it had waited for its turn.
    Waited,
    /// It got the fallback of its placements, for there was no time to rank.
    Degraded,
    /// It was refused.
    Refused,
    /// It was not answered, for its caller had stopped waiting.
    Late,
}

impl Admission {
    const NAMES: [&'static str; 5] = ["admitted", "waited", "degraded", "refused", "late"];
}

/// The handles, by class.
pub(super) struct AdmissionMetrics {
    outcomes: [Vec<Counter>; CallClass::ALL.len()],
    waited: [Histogram; CallClass::ALL.len()],
}

impl AdmissionMetrics {
    pub fn new(recorder: &Recorder) -> Self {
        let counter = |class: CallClass, outcome: &'static str| {
            let labels = vec![Label::new("class", class.name()), Label::new("outcome", outcome)];
            recorder.counter(names::ADMISSIONS, labels)
        };
        let waited = |class: CallClass| {
            metrics::with_local_recorder(
                &recorder.recorder,
                || metrics::histogram!(names::ADMISSION_WAIT_SECONDS, "class" => class.name()),
            )
        };
        Self {
            outcomes: CallClass::ALL.map(|class| Admission::NAMES.iter().map(|name| counter(class, name)).collect()),
            waited: CallClass::ALL.map(waited),
        }
    }
}

impl Metrics {
    /// Counts what became of a call.
    pub fn admission(&self, class: CallClass, outcome: Admission) {
        // INVARIANT: there is a counter of every class and outcome
        if let Some(counter) = self.admission.outcomes[class as usize].get(outcome as usize) {
            counter.increment(1);
        }
    }

    /// Counts how long a call that did not go ahead at once was in line,
    /// whatever became of it then.
    pub fn admission_waited(&self, class: CallClass, waited: Duration) {
        self.admission.waited[class as usize].record(waited.as_secs_f64());
    }
}
