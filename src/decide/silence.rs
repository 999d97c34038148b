//! Whether nothing followed a presentation.

use crate::{
    domain::{Interaction, OutcomeSet, OutcomeType},
    rules::Channel,
};

use super::history::is_contact;

/// What a person answers with, and what the service said of the silence.
const SPOKEN: OutcomeSet = OutcomeSet(
    1 << OutcomeType::Click as u16
        | 1 << OutcomeType::Accept as u16
        | 1 << OutcomeType::Decline as u16
        | 1 << OutcomeType::Conversion as u16
        | 1 << OutcomeType::Dismiss as u16
        | 1 << OutcomeType::Unsubscribe as u16
        | 1 << OutcomeType::NoResponse as u16,
);

/// Whether a presentation reached the person by an outcome, as its channel counts
/// it, and nothing followed it. Of a channel that the rules no longer have only an
/// impression counts.
pub fn is_silence(interaction: &Interaction, channel: Option<&Channel>, shown_by: OutcomeType) -> bool {
    let counts = shown_by == OutcomeType::Impression || channel.is_some_and(|c| c.counts_on.has(shown_by));
    counts && is_contact(interaction, channel) && !interaction.outcomes.intersects(SPOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::build::{EMAIL, NOW, WEB, interaction, rules};

    #[test]
    fn silence_is_what_reached_and_was_not_answered() {
        let rules = rules();
        let (web, email) = (rules.channel(WEB), rules.channel(EMAIL));
        let of = |outcomes: &[OutcomeType]| interaction("mail", "web", NOW, outcomes);
        use OutcomeType::{Cancelled, Click, Decided, Decline, Handoff, Impression, NoResponse};
        assert!(is_silence(&of(&[Impression]), Some(web), Impression));
        assert!(is_silence(&of(&[Handoff]), Some(email), Handoff));
        assert!(!is_silence(&of(&[Decided]), Some(web), Decided), "decided is no contact where impressions count");
        assert!(!is_silence(&of(&[Handoff]), Some(web), Handoff));
        assert!(!is_silence(&of(&[Decided, Impression]), Some(web), Decided), "its time runs from the impression");
        assert!(!is_silence(&of(&[Handoff, Cancelled]), Some(email), Handoff));
        for answer in [Click, Decline, NoResponse] {
            assert!(!is_silence(&of(&[Impression, answer]), Some(web), Impression), "{answer:?}");
        }
        assert!(is_silence(&of(&[Impression]), None, Impression) && !is_silence(&of(&[Handoff]), None, Handoff));
    }
}
