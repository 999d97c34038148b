//! What the options say about questions.

use anyhow::Context;
use prost::Message;

use crate::{
    grpc::timestamp::Timestamp,
    proto::{Assurance, DecideRequest, Intent, PlacementRequest, Purpose, SendWindow},
};

/// Options that a question of a batch takes over where it does not say.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// A placement that asks; may be repeated. None makes it an open question.
    #[arg(long = "placement", short = 'p', value_name = "ID")]
    pub placements: Vec<String>,
    /// A channel that may be used; may be repeated.
    #[arg(long = "channel", short = 'c', value_name = "ID")]
    pub channels: Vec<String>,
    /// Only offers of this purpose.
    #[arg(long, value_enum)]
    pub purpose: Option<OnlyPurpose>,
    /// How sure it is who the person is.
    #[arg(long, value_enum)]
    pub assurance: Option<GivenAssurance>,
    /// Open questions: messages can be sent from this moment on, for example
    /// `2026-01-31T08:00:00Z`.
    #[arg(long, value_name = "MOMENT")]
    pub send_from: Option<String>,
    /// Open questions: messages can be sent until this moment.
    #[arg(long, value_name = "MOMENT")]
    pub send_until: Option<String>,
    /// Present the answer: reserve caps and record the decision. Without it the
    /// call is a look only, whose tokens count for nothing: give it when
    /// messages are sent.
    #[arg(long)]
    pub present: bool,
}

/// A purpose by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OnlyPurpose {
    /// Offers that sell.
    Marketing,
    /// Offers that serve.
    Service,
}

/// An assurance by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GivenAssurance {
    /// Nobody has claimed anything.
    Anonymous,
    /// The person, or who asks, says so.
    Claimed,
    /// Logged in, or checked.
    Verified,
}

impl Options {
    /// A question as the options alone make it.
    ///
    /// # Errors
    /// A moment that is none; a send window for placements.
    pub fn question(&self) -> anyhow::Result<DecideRequest> {
        let sends = self.send_from.is_some() || self.send_until.is_some();
        anyhow::ensure!(
            !sends || self.placements.is_empty(),
            "`--send-from` and `--send-until` are for open questions: give them without `--placement`"
        );
        let placement = |name: &String| PlacementRequest { placement: name.clone(), count: 0 };
        let window = SendWindow {
            from: moment("--send-from", self.send_from.as_deref())?,
            until: moment("--send-until", self.send_until.as_deref())?,
        };
        let purpose = match self.purpose {
            None => Purpose::Unspecified,
            Some(OnlyPurpose::Marketing) => Purpose::Marketing,
            Some(OnlyPurpose::Service) => Purpose::Service,
        };
        let assurance = match self.assurance {
            None => Assurance::Unspecified,
            Some(GivenAssurance::Anonymous) => Assurance::Anonymous,
            Some(GivenAssurance::Claimed) => Assurance::Claimed,
            Some(GivenAssurance::Verified) => Assurance::Verified,
        };
        Ok(DecideRequest {
            assurance: assurance.into(),
            placements: self.placements.iter().map(placement).collect(),
            allowed_channels: self.channels.clone(),
            purpose: purpose.into(),
            intent: if self.present { Intent::Present } else { Intent::Preview }.into(),
            send_window: (window != SendWindow::default()).then_some(window),
            ..DecideRequest::default()
        })
    }
}

fn moment(option: &str, text: Option<&str>) -> anyhow::Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let read = |text: &str| serde_json::from_value(serde_json::Value::from(text));
    read(text).map(Some).with_context(|| format!("`{option}` is not a moment; write it as `2026-01-31T08:00:00Z`"))
}

/// What questions of a batch take over.
pub struct Defaults {
    question: DecideRequest,
}

impl Defaults {
    /// Of a question made from options.
    pub fn new(question: DecideRequest) -> Self {
        Self { question }
    }

    /// Bytes that are equal for equal defaults.
    pub fn fingerprint(&self) -> Vec<u8> {
        self.question.encode_to_vec()
    }

    /// Fills in what a question does not say.
    pub fn fill(&self, question: &mut DecideRequest) {
        let defaults = &self.question;
        if question.placements.is_empty() {
            question.placements.clone_from(&defaults.placements);
        }
        if question.allowed_channels.is_empty() {
            question.allowed_channels.clone_from(&defaults.allowed_channels);
        }
        if question.purpose == Purpose::Unspecified as i32 {
            question.purpose = defaults.purpose;
        }
        if question.intent == Intent::Unspecified as i32 {
            question.intent = defaults.intent;
        }
        if question.assurance == Assurance::Unspecified as i32 {
            question.assurance = defaults.assurance;
        }
        // only an open question has one
        if question.send_window.is_none() && question.placements.is_empty() {
            question.send_window = defaults.send_window;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_keeps_what_it_says_and_takes_over_the_rest() {
        let options = Options {
            channels: vec!["email".into()],
            purpose: Some(OnlyPurpose::Marketing),
            send_until: Some("2026-01-31T08:00:00Z".into()),
            assurance: Some(GivenAssurance::Verified),
            ..Options::default()
        };
        let defaults = Defaults::new(options.question().unwrap());
        let mut silent = DecideRequest::default();
        defaults.fill(&mut silent);
        assert_eq!(silent.allowed_channels, ["email"]);
        assert_eq!((silent.purpose(), silent.intent()), (Purpose::Marketing, Intent::Preview));
        assert_eq!(silent.send_window.and_then(|w| w.until).map(|t| t.seconds), Some(1_769_846_400));
        assert_eq!(silent.assurance(), Assurance::Verified);
        let placement = PlacementRequest { placement: "side_bar".into(), count: 0 };
        let mut placed = DecideRequest { placements: vec![placement], ..DecideRequest::default() };
        defaults.fill(&mut placed);
        assert_eq!(placed.send_window, None);
        let own = DecideRequest {
            assurance: Assurance::Anonymous.into(),
            allowed_channels: vec!["sms".into()],
            purpose: Purpose::Service.into(),
            intent: Intent::Present.into(),
            send_window: Some(SendWindow::default()),
            ..DecideRequest::default()
        };
        let mut filled = own.clone();
        defaults.fill(&mut filled);
        assert_eq!(filled, own);
    }

    #[test]
    fn other_options_are_another_batch_and_a_wrong_moment_is_told() {
        let fingerprint = |options: &Options| Defaults::new(options.question().unwrap()).fingerprint();
        let present = Options { present: true, ..Options::default() };
        assert_ne!(fingerprint(&present), fingerprint(&Options::default()));
        let wrong = Options { send_from: Some("tomorrow".into()), ..Options::default() };
        assert!(format!("{:#}", wrong.question().unwrap_err()).contains("`--send-from`"));
        let until = Some("2026-01-31T08:00:00Z".to_owned());
        let placed = Options { placements: vec!["side_bar".into()], send_until: until, ..Options::default() };
        assert!(placed.question().unwrap_err().to_string().contains("without `--placement`"));
    }
}
