//! `settings`: currency, language, time zone.

use std::sync::Arc;

use crate::{
    domain::Currency,
    rules::{
        keys::SETTINGS,
        read::Fields,
        report::{Noun, Report},
        source::{Mark, Node},
    },
};

use super::declare::TopLevel;

/// What the rest is compiled with.
#[derive(Debug)]
pub struct Settings<'n> {
    /// The one currency.
    pub currency: Currency,
    /// The language of last resort.
    pub default_language: Arc<str>,
    /// The time zone of last resort.
    pub time_zone: jiff::tz::TimeZone,
    /// Names the attribute holding the customer's language.
    pub language_attribute: Option<&'n Node>,
    /// Names the attribute holding the customer's time zone.
    pub time_zone_attribute: Option<&'n Node>,
}

impl<'n> Settings<'n> {
    /// Reads the settings; what cannot be read becomes its default.
    pub fn read(report: &mut Report<'_>, top: &TopLevel<'n>) -> Self {
        let mut settings = Self {
            currency: Currency { code: *b"XXX", minor_digits: 2 },
            default_language: "en".into(),
            time_zone: jiff::tz::TimeZone::UTC,
            language_attribute: None,
            time_zone_attribute: None,
        };
        let Some(node) = top.single(report, "settings") else {
            if report.knows_all(Noun::Settings) {
                let mark = Mark { file: 0, line: 1, column: 1 };
                report.error(mark, "no file has `settings`: add it with at least `currency`");
            }
            report.lose(Noun::Settings);
            return settings;
        };
        let Some(fields) = report.fields(node, &SETTINGS) else {
            report.lose(Noun::Settings);
            return settings;
        };
        settings.fill(report, &fields);
        settings
    }

    fn fill(&mut self, report: &mut Report<'_>, fields: &Fields<'n>) {
        match fields.get("currency").and_then(|node| currency(report, node)) {
            Some(currency) => self.currency = currency,
            // Amounts cannot be judged without knowing their decimals.
            None => report.lose(Noun::Settings),
        }
        let language = fields.get("default_language");
        if let Some(language) = language.and_then(|n| report.text(n).cloned().and_then(|t| report.language(n.mark, &t)))
        {
            self.default_language = language;
        }
        if let Some(zone) = fields.get("time_zone").and_then(|node| time_zone(report, node)) {
            self.time_zone = zone;
        }
        self.language_attribute = fields.get("language_attribute");
        self.time_zone_attribute = fields.get("time_zone_attribute");
    }
}

fn time_zone(report: &mut Report<'_>, node: &Node) -> Option<jiff::tz::TimeZone> {
    let text = report.text(node)?;
    match jiff::tz::TimeZone::get(text) {
        Ok(zone) => Some(zone),
        Err(_) => report.expected(node, "an IANA time zone like `Europe/London`"),
    }
}

fn currency(report: &mut Report<'_>, node: &Node) -> Option<Currency> {
    let text = report.text(node)?;
    match <[u8; 3]>::try_from(text.as_bytes()) {
        Ok(code) if code.iter().all(u8::is_ascii_uppercase) => {
            Some(Currency { code, minor_digits: minor_digits(&code) })
        }
        _ => report.expected(node, "an ISO 4217 code like `GBP`"),
    }
}

/// Digits after the decimal point, of the list of ISO 4217.
fn minor_digits(code: &[u8; 3]) -> u8 {
    match code {
        b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX" | b"UYI"
        | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
        b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
        b"CLF" | b"UYW" => 4,
        _ => 2,
    }
}
