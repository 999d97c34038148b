//! How a customer wishes to be talked to.

use crate::{domain::profile::Preference, proto, rules::Ruleset};

use super::{Reading, customer::channel_name, suggest::quoted};

/// What takes a wish back.
const NONE: &str = "-";
/// What takes the wish for few contacts back.
const NO_MAX: i32 = -1;
/// The most contacts in 7 days that may be wished.
pub const CONTACTS_MAX: i32 = 1_000;
/// Most bytes of a language tag.
pub const LANGUAGE_BYTES_MAX: usize = 35;
/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

/// Wishes to set or to take back, in order of their kind; what is not given is
/// not among them.
pub fn read(r: &mut Reading<'_>, wire: Option<proto::Preferences>) -> Vec<Preference> {
    let Some(wire) = wire else { return Vec::new() };
    let channel = wire.channel.and_then(|name| channel(r, &name));
    let language = wire.language.and_then(|tag| language(r, &tag));
    let hours = wire.quiet_hours.and_then(|text| quiet_hours(r, &text));
    let contacts = wire.contacts_per_week_max.and_then(|max| contacts(r, max));
    [channel, language, hours, contacts].into_iter().flatten().collect()
}

fn channel(r: &mut Reading<'_>, name: &str) -> Option<Preference> {
    if name == NONE {
        return Some(Preference::Channel(None));
    }
    let Some(channel) = r.ruleset.channel_by_name(name) else {
        r.unknown_channel("preferences.channel", name);
        return None;
    };
    Some(Preference::Channel(Some(channel.id)))
}

fn language(r: &mut Reading<'_>, tag: &str) -> Option<Preference> {
    if tag == NONE {
        return Some(Preference::Language(None));
    }
    let is_subtag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let starts = tag
        .split('-')
        .next()
        .is_some_and(|first| (2..=8).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic()));
    if tag.len() > LANGUAGE_BYTES_MAX || !starts || !tag.split('-').all(is_subtag) {
        let why = format!("{} is not a language tag: give one like `en` or `de-AT`, or `-` for none", quoted(tag));
        r.wrong("preferences.language", why);
        return None;
    }
    Some(Preference::Language(Some(tag.to_ascii_lowercase().into())))
}

fn quiet_hours(r: &mut Reading<'_>, text: &str) -> Option<Preference> {
    if text == NONE {
        return Some(Preference::QuietHours(None));
    }
    let hours = text.split_once('-').and_then(|(from, until)| Some((minute(from)?, minute(until)?)));
    let Some((from, until)) = hours else {
        let why =
            format!("{} is not a time of the day: give local hours like `21:00-08:00`, or `-` for none", quoted(text));
        r.wrong("preferences.quiet_hours", why);
        return None;
    };
    if from == until {
        let why = "begin when they end: give two different times, or forbid every contact with `SetDoNotContact`";
        r.wrong("preferences.quiet_hours", why);
        return None;
    }
    Some(Preference::QuietHours(Some((from, until))))
}

/// Minutes of the day of `HH:MM`; `24:00` is midnight.
fn minute(text: &str) -> Option<u16> {
    let digits = |text: &str| -> Option<u16> {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    let of_day = (minute < 60).then(|| hour * 60 + minute)?;
    (of_day <= DAY_MINUTES).then_some(of_day % DAY_MINUTES)
}

fn contacts(r: &mut Reading<'_>, max: i32) -> Option<Preference> {
    match u16::try_from(max) {
        Ok(wished) if max <= CONTACTS_MAX => Some(Preference::ContactsPerWeek(Some(wished))),
        _ if max == NO_MAX => Some(Preference::ContactsPerWeek(None)),
        _ => {
            let why = format!("is `{max}`: give 0 to {CONTACTS_MAX}, or {NO_MAX} for no such wish");
            r.wrong("preferences.contacts_per_week_max", why);
            None
        }
    }
}

/// The wishes on the wire; `None` when there is none.
pub fn write<'a>(
    preferences: impl IntoIterator<Item = &'a Preference>,
    ruleset: &Ruleset,
) -> Option<proto::Preferences> {
    let mut wire = proto::Preferences::default();
    for preference in preferences {
        match preference {
            Preference::Channel(id) => wire.channel = id.map(|id| channel_name(ruleset, id)),
            Preference::Language(tag) => wire.language = tag.as_deref().map(str::to_owned),
            Preference::QuietHours(hours) => wire.quiet_hours = hours.map(hours_text),
            Preference::ContactsPerWeek(max) => wire.contacts_per_week_max = max.map(i32::from),
        }
    }
    (wire != proto::Preferences::default()).then_some(wire)
}

fn hours_text((from, until): (u16, u16)) -> String {
    format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::ChannelId,
        grpc::convert::tests::{fields, identity, ruleset},
    };

    fn wire(channel: &str, language: &str, hours: &str, max: i32) -> proto::Preferences {
        proto::Preferences {
            channel: Some(channel.into()),
            language: Some(language.into()),
            quiet_hours: Some(hours.into()),
            contacts_per_week_max: Some(max),
        }
    }

    fn given(wire: proto::Preferences) -> Result<Vec<Preference>, crate::app::AppError> {
        let rules = ruleset();
        let mut reading = Reading::new(&rules, &identity);
        let preferences = read(&mut reading, Some(wire));
        reading.done(preferences)
    }

    #[test]
    fn wishes_are_read_and_written_and_taken_back() {
        let all = given(wire("web", "de-AT", "21:30-08:00", 2)).unwrap();
        let wished = [
            Preference::Channel(Some(ChannelId::of("web"))),
            Preference::Language(Some("de-at".into())),
            Preference::QuietHours(Some((1_290, 480))),
            Preference::ContactsPerWeek(Some(2)),
        ];
        assert_eq!(all, wished);
        assert_eq!(write(&all, &ruleset()), Some(wire("web", "de-at", "21:30-08:00", 2)));
        let none = given(wire("-", "-", "-", -1)).unwrap();
        let taken_back = [
            Preference::Channel(None),
            Preference::Language(None),
            Preference::QuietHours(None),
            Preference::ContactsPerWeek(None),
        ];
        assert_eq!(none, taken_back);
        assert_eq!(write(&none, &ruleset()), None);
        assert_eq!(given(proto::Preferences::default()).unwrap(), []);
        let midnight = given(wire("-", "-", "22:00-24:00", 0)).unwrap();
        assert_eq!(midnight[2..], [Preference::QuietHours(Some((1_320, 0))), Preference::ContactsPerWeek(Some(0))]);
    }

    #[test]
    fn every_wrong_wish_is_named() {
        let all = [
            "preferences.channel",
            "preferences.contacts_per_week_max",
            "preferences.language",
            "preferences.quiet_hours",
        ];
        assert_eq!(fields(given(wire("wbe", "english language", "21:00", 1_001))), all);
        assert_eq!(fields(given(wire("", "", "", -2))), all);
        for hours in
            ["25:00-08:00", "21:60-08:00", "21:00-21:00", "00:00-24:00", "9:00-10:00", "21:00-24:01", "+1:00-02:00"]
        {
            assert_eq!(fields(given(wire("-", "-", hours, 0))), ["preferences.quiet_hours"], "{hours}");
        }
        for language in ["e", "de_AT", "de-", "-de", "123", "x".repeat(36).as_str()] {
            assert_eq!(fields(given(wire("-", language, "-", 0))), ["preferences.language"], "{language}");
        }
    }
}
