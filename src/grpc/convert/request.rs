//! The question.

use crate::{
    app::{AppError, consistency_wanted},
    domain::{
        Assurance, ChannelId, Identity, Intent, ItemId, OfferId, PageConsent, Permission, PlacementAsk, Purpose,
        Request, SendWindow, Trace, View, VisitorId,
    },
    proto,
};

use super::{
    Reading, browser,
    reading::{CONSISTENCY_TOKEN_BYTES_MAX, NAME_BYTES_MAX, REQUEST_ID_BYTES_MAX},
    schema,
};

/// Most placements of a question.
pub const PLACEMENTS_MAX: usize = 32;
/// Most presentations of one placement.
pub const PLACEMENT_COUNT_MAX: u32 = 1_000;
/// Most allowed channels.
pub const CHANNELS_MAX: usize = 32;
/// Most excluded offers, and most excluded items.
pub const EXCLUDED_MAX: usize = 1_000;
/// Most languages.
pub const LANGUAGES_MAX: usize = 8;
/// Most bytes of a language tag (RFC 5646, section 4.4.1, recommends 35).
pub const LANGUAGE_BYTES_MAX: usize = 35;
/// Most bytes of a session id.
pub const SESSION_BYTES_MAX: usize = 128;
/// What a caller waits who does not say, milliseconds.
pub const TIME_BUDGET_DEFAULT_MS: u32 = 100;
/// The longest a caller may wait, milliseconds.
pub const TIME_BUDGET_MAX_MS: u32 = 60_000;

/// Checks a question against the rules.
///
/// # Errors
/// Every violation at once.
pub fn read(mut reading: Reading<'_>, mut wire: proto::DecideRequest) -> Result<Request, AppError> {
    let r = &mut reading;
    let caller = r.caller;
    browser::question(r, &mut wire);
    let intent = intent(r, wire.intent);
    preview_only(r, intent, &wire);
    let mut identities = r.identities("", wire.identities);
    let assurance = assurance(r, wire.assurance, !identities.is_empty());
    let visitor = visitor(r, &wire.visitor_id, &mut identities);
    let send_window = send_window(r, wire.send_window, wire.placements.is_empty());
    let mut request = Request {
        identities,
        assurance,
        session_id: r.text("session_id", wire.session_id, r.bound(SESSION_BYTES_MAX, browser::SESSION_BYTES_MAX)),
        placements: placements(r, wire.placements, wire.strict),
        allowed_channels: channels(r, &wire.allowed_channels, wire.strict),
        purpose: purpose(r, wire.purpose),
        context: schema::context(r, wire.context),
        page_consent: page_consent(r, wire.page_consent),
        exclude_offers: excluded(r, "exclude_offers", &wire.exclude_offers, OfferId::of),
        exclude_items: excluded(r, "exclude_items", &wire.exclude_items, ItemId::of),
        time_budget_ms: time_budget(r, wire.time_budget_ms),
        request_id: r.text("request_id", wire.request_id, REQUEST_ID_BYTES_MAX),
        intent,
        view: view(r, wire.view),
        trace: trace(r, wire.trace),
        consistency_token: consistency_token(r, wire.consistency_token),
        languages: languages(r, wire.languages),
        as_of: r.moment("as_of", wire.as_of),
        overrides: schema::overrides(r, wire.attribute_overrides),
        visitor,
        send_window,
    };
    browser::narrow(caller, &mut request);
    reading.done(request)
}

/// The visitor of a signed id, who becomes the last of the identities. One that
/// is not ours is as none: whoever guesses learns nothing.
fn visitor(r: &Reading<'_>, signed: &str, identities: &mut Vec<Identity>) -> Option<VisitorId> {
    let identity = r.visitor(signed)?;
    let visitor = VisitorId::parse(&identity.value)?;
    identities.retain(|one| *one != identity);
    identities.push(identity);
    Some(visitor)
}

fn preview_only(r: &mut Reading<'_>, intent: Intent, wire: &proto::DecideRequest) {
    if intent == Intent::Preview {
        return;
    }
    if wire.as_of.is_some() {
        r.wrong("as_of", "needs `INTENT_PREVIEW`: a real decision is made now");
    }
    if wire.attribute_overrides.as_ref().is_some_and(|o| !o.fields.is_empty()) {
        r.wrong("attribute_overrides", "needs `INTENT_PREVIEW`: a real decision reads what is stored");
    }
}

fn assurance(r: &mut Reading<'_>, number: i32, named: bool) -> Assurance {
    match r.number("assurance", number) {
        Some(proto::Assurance::Anonymous) => Assurance::Anonymous,
        Some(proto::Assurance::Claimed) => Assurance::Claimed,
        Some(proto::Assurance::Verified) => Assurance::Verified,
        Some(proto::Assurance::Unspecified) | None if named => Assurance::Claimed,
        Some(proto::Assurance::Unspecified) | None => Assurance::Anonymous,
    }
}

fn placements(r: &mut Reading<'_>, wire: Vec<proto::PlacementRequest>, strict: bool) -> Vec<PlacementAsk> {
    if !r.fits("placements", wire.len(), PLACEMENTS_MAX) {
        return Vec::new();
    }
    let bytes_max = r.bound(NAME_BYTES_MAX, browser::PLACEMENT_BYTES_MAX);
    let mut asks = Vec::with_capacity(wire.len());
    for (index, ask) in wire.into_iter().enumerate() {
        let id = r.placement_id(&ask.placement);
        if ask.placement.is_empty() || ask.placement.len() > bytes_max {
            let why = format!("is {} bytes long: give 1 to {bytes_max}", ask.placement.len());
            r.wrong(format!("placements[{index}].placement"), why);
        } else if strict && !r.ruleset.placement_slots.contains_key(&id) {
            r.unknown_placement(&format!("placements[{index}].placement"), &ask.placement);
        }
        if ask.count > PLACEMENT_COUNT_MAX {
            let why = format!("is {}: at most {PLACEMENT_COUNT_MAX}", ask.count);
            r.wrong(format!("placements[{index}].count"), why);
        }
        let count = ask.count.min(PLACEMENT_COUNT_MAX) as u16;
        asks.push(PlacementAsk { id, name: ask.placement.into_boxed_str(), count });
    }
    asks
}

/// A channel that the rules do not have allows nothing; it fails only a strict
/// question.
fn channels(r: &mut Reading<'_>, wire: &[String], strict: bool) -> Vec<ChannelId> {
    if !r.fits("allowed_channels", wire.len(), CHANNELS_MAX) {
        return Vec::new();
    }
    let mut channels = Vec::with_capacity(wire.len());
    for (index, name) in wire.iter().enumerate() {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let why = format!("is {} bytes long: give 1 to {NAME_BYTES_MAX}", name.len());
            r.wrong(format!("allowed_channels[{index}]"), why);
        } else if strict && !r.ruleset.channel_by_name(name).is_some_and(|channel| r.hears_of(channel)) {
            r.unknown_channel(&format!("allowed_channels[{index}]"), name);
        }
        channels.push(ChannelId::of(name));
    }
    channels
}

fn consistency_token(r: &mut Reading<'_>, token: String) -> Box<str> {
    const FIELD: &str = "consistency_token";
    let token = r.text(FIELD, token, CONSISTENCY_TOKEN_BYTES_MAX);
    if !token.is_empty() && consistency_wanted(&token).is_none() {
        r.wrong(FIELD, "is not one of ours: send it as it was returned, or leave it out");
    }
    token
}

fn purpose(r: &mut Reading<'_>, number: i32) -> Option<Purpose> {
    match r.number("purpose", number)? {
        proto::Purpose::Unspecified => None,
        proto::Purpose::Marketing => Some(Purpose::Marketing),
        proto::Purpose::Service => Some(Purpose::Service),
    }
}

/// What a page says of consent.
pub fn page_consent(r: &mut Reading<'_>, wire: Option<proto::PageConsent>) -> PageConsent {
    let Some(wire) = wire else { return PageConsent::default() };
    PageConsent {
        profiling: permission(r, "page_consent.profiling", wire.profiling),
        marketing: permission(r, "page_consent.marketing", wire.marketing),
    }
}

/// A permission; unset is unknown.
pub fn permission(r: &mut Reading<'_>, field: &str, number: i32) -> Permission {
    match r.number(field, number) {
        Some(proto::Permission::Granted) => Permission::Granted,
        Some(proto::Permission::Denied) => Permission::Denied,
        Some(proto::Permission::Unspecified) | None => Permission::Unknown,
    }
}

fn excluded<I: Ord>(r: &mut Reading<'_>, field: &str, names: &[String], id_of: fn(&str) -> I) -> Vec<I> {
    if !r.fits(field, names.len(), r.bound(EXCLUDED_MAX, browser::EXCLUDED_MAX)) {
        return Vec::new();
    }
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let why = format!("is {} bytes long: give 1 to {NAME_BYTES_MAX}", name.len());
            r.wrong(format!("{field}[{index}]"), why);
        }
    }
    let mut ids: Vec<I> = names.iter().map(|name| id_of(name)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn time_budget(r: &mut Reading<'_>, wanted_ms: u32) -> u32 {
    match wanted_ms {
        0 => TIME_BUDGET_DEFAULT_MS,
        1..=TIME_BUDGET_MAX_MS => wanted_ms,
        _ => {
            r.wrong("time_budget_ms", format!("is {wanted_ms}: at most {TIME_BUDGET_MAX_MS}"));
            TIME_BUDGET_MAX_MS
        }
    }
}

fn intent(r: &mut Reading<'_>, number: i32) -> Intent {
    match r.number("intent", number) {
        Some(proto::Intent::Preview) => Intent::Preview,
        Some(proto::Intent::Present | proto::Intent::Unspecified) | None => Intent::Present,
    }
}

/// How much of each presentation to return.
pub fn view(r: &mut Reading<'_>, number: i32) -> View {
    match r.number("view", number) {
        Some(proto::View::Agent) => View::Agent,
        Some(proto::View::Full) => View::Full,
        Some(proto::View::Render | proto::View::Unspecified) | None => View::Render,
    }
}

/// How much of the verdicts to return.
pub fn trace(r: &mut Reading<'_>, number: i32) -> Trace {
    match r.number("trace", number) {
        Some(proto::Trace::Summary) => Trace::Summary,
        Some(proto::Trace::Full) => Trace::Full,
        Some(proto::Trace::None | proto::Trace::Unspecified) | None => Trace::None,
    }
}

/// When the caller can send. A window that is over is none of its mistakes:
/// nothing is answered then.
fn send_window(r: &mut Reading<'_>, wire: Option<proto::SendWindow>, is_open: bool) -> SendWindow {
    const FIELD: &str = "send_window";
    let Some(wire) = wire else { return SendWindow::default() };
    let window =
        SendWindow { from: r.moment("send_window.from", wire.from), until: r.moment("send_window.until", wire.until) };
    if !is_open {
        r.wrong(FIELD, "is for open questions: leave it out, or leave `placements` out");
    }
    if let (Some(from), Some(until)) = (window.from, window.until)
        && from >= until
    {
        r.wrong(FIELD, "ends before it begins: `from` must be before `until`");
    }
    window
}

fn languages(r: &mut Reading<'_>, wire: Vec<String>) -> Vec<Box<str>> {
    if !r.fits("languages", wire.len(), LANGUAGES_MAX) {
        return Vec::new();
    }
    let mut languages = Vec::with_capacity(wire.len());
    for (index, mut tag) in wire.into_iter().enumerate() {
        let shaped = tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if tag.is_empty() || tag.len() > LANGUAGE_BYTES_MAX || !shaped {
            r.wrong(format!("languages[{index}]"), "is not a BCP 47 tag, for example `en-GB`");
        } else {
            tag.make_ascii_lowercase();
            languages.push(tag.into_boxed_str());
        }
    }
    languages
}
