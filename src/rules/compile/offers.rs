//! Offers.

use std::sync::Arc;

use crate::{
    domain::{AttributeSource, GroupSlot, IssueSlot, OfferId, OfferSlot, PlacementSlot, Purpose, Schema, Timestamp},
    rules::{
        Channel, EACH_MAX, Each, Escape, Issue, Limit, Number, Offer, OfferReachLimits, Placement, Repeat, Suppression,
        Template,
        condition::ParsedTexts,
        keys_offers::{LABELS, OFFER, SCHEDULE},
        lint::LINTS,
        read::Fields,
        report::{ERRORS_MAX, Noun, Report},
        source::{Kind, Mark, Node},
    },
};

use super::{
    cache::{KnownOffer, KnownOffers},
    declare::{Declared, Names, TopLevel, check_hashes, declaration, each_once},
    documents::{OfferPiece, PieceState},
    fingerprint::Fingerprint,
    limits::{LimitNames, PURPOSES, budget, offer_limits, suppressions},
    reach,
    schema::assurance,
    texts::{OfferTexts, Texts},
    treatments,
};

/// Most offers.
pub const OFFERS_MAX: usize = 200_000;

/// What offers are compiled against.
#[derive(Debug)]
pub struct OfferEnv<'a> {
    /// Channels at their slots.
    pub channels: &'a [Channel],
    /// Placements at their slots.
    pub placements: &'a [Placement],
    /// Issues at their slots.
    pub issues: &'a [Issue],
    /// Issues by name.
    pub issue_names: Names<IssueSlot>,
    /// Placements by name.
    pub placement_names: Names<PlacementSlot>,
    /// Channels, groups, decline reasons by name.
    pub names: LimitNames<'a>,
    /// Compiles conditions and templates.
    pub texts: &'a Texts<'a>,
    /// The language every treatment needs.
    pub default_language: &'a Arc<str>,
}

/// The offers, and what they declare beside themselves.
#[derive(Debug, Default)]
pub struct Offers {
    /// The offers, at their slots.
    pub offers: Vec<Offer>,
    /// Their limits, without slots.
    pub limits: Vec<Limit>,
    /// Their suppressions.
    pub suppressions: Vec<Suppression>,
    /// Their reach limits, by slot.
    pub reach: Vec<(OfferSlot, OfferReachLimits)>,
}

/// What earlier compilations left, and the offers that stand alone.
#[derive(Debug)]
pub struct Kept<'a, 'f> {
    /// Offers that stand alone, by file and line.
    pub pieces: &'a [OfferPiece<'f>],
    /// Offers compiled before.
    pub known: &'a mut KnownOffers,
    /// Texts parsed before.
    pub parsed: &'a ParsedTexts,
    /// The number of this compilation.
    pub round: u64,
}

/// An offer to be told from others by its id.
struct Candidate<'n> {
    file: u32,
    id: Arc<str>,
    mark: Mark,
    id_mark: Mark,
    state: State<'n>,
}

enum State<'n> {
    /// Compiled before, against the same; its first line now.
    Known(&'n KnownOffer, u32),
    /// To be compiled.
    Fresh { declared: Declared<'n>, piece: Option<&'n OfferPiece<'n>>, is_clean: bool },
}

/// Reads the offers, by id.
pub fn read(report: &mut Report<'_>, top: &TopLevel<'_>, env: &OfferEnv<'_>, kept: Kept<'_, '_>) -> Offers {
    let Kept { pieces, known, parsed, round } = kept;
    // Where a declaration could not be read, what is told of an offer depends
    // on more than the fingerprint.
    let fingerprint = report.is_complete().then(|| env.fingerprint());
    let reusable = |piece: &OfferPiece<'_>| match &piece.state {
        PieceState::Known(offer) => Some(offer.fingerprint) == fingerprint,
        PieceState::Read(..) => false,
    };
    let again: Vec<Option<(Node, usize)>> = pieces
        .iter()
        .map(|piece| match &piece.state {
            PieceState::Known(_) if !reusable(piece) => piece.read(),
            _ => None,
        })
        .collect();
    pieces.iter().for_each(|piece| known.touch(piece.key, round));
    let nodes = top.list(report, "offers", Some(Noun::Offer));
    let all = candidates(report, nodes, (pieces, &again));
    let mut offers = Offers::default();
    for (at, candidate) in all.into_iter().take(OFFERS_MAX).enumerate() {
        let slot = OfferSlot(at as u32);
        match candidate.state {
            State::Known(offer, first_line) => offers.add(offer.placed(slot, first_line)),
            State::Fresh { declared, piece, is_clean } => {
                parsed.take_used();
                let before = report.count();
                report.look_at(piece.map(OfferPiece::part));
                let made = compiled(report, slot, &declared, env);
                report.look_at(None);
                let clean = is_clean && report.count() == before && before < ERRORS_MAX;
                if let (Some(piece), Some(fingerprint), true) = (piece, fingerprint, clean) {
                    let offer = KnownOffer::of(piece, (candidate.mark, candidate.id_mark), &made);
                    known.keep(piece.key, KnownOffer { fingerprint, _parsed: parsed.take_used(), ..offer }, round);
                }
                offers.add(made);
            }
        }
    }
    offers
}

/// The offers of all files by id, each id once; `again` are the trees of
/// offers that are known but must be compiled again.
fn candidates<'n>(
    report: &mut Report<'_>,
    nodes: Vec<&'n Node>,
    (pieces, again): (&'n [OfferPiece<'n>], &'n [Again]),
) -> Vec<Candidate<'n>> {
    let mut all: Vec<Candidate<'_>> = Vec::with_capacity(pieces.len());
    for node in nodes {
        all.extend(candidate(report, node, None));
    }
    for (piece, again) in pieces.iter().zip(again) {
        match (&piece.state, again) {
            (PieceState::Read(node, _), _) | (_, Some((node, _))) => all.extend(candidate(report, node, Some(piece))),
            (PieceState::Known(offer), None) => all.push(Candidate::known(piece, offer)),
        }
    }
    all.sort_by_key(|candidate| candidate.file);
    each_once(report, &mut all, Noun::Offer, |candidate| (&candidate.id, candidate.id_mark));
    check_hashes(report, Noun::Offer, all.iter().map(|c| (OfferId::of(&c.id), c.id.clone(), c.id_mark)));
    if let Some(over) = all.get(OFFERS_MAX) {
        report.error(over.mark, format!("there are {} offers, at most {OFFERS_MAX} are allowed", all.len()));
    }
    all
}

/// The tree of an offer that must be compiled again, with its size.
type Again = Option<(Node, usize)>;

/// What one offer becomes.
pub type Made = (Offer, Vec<Limit>, Vec<Suppression>);

impl Offers {
    fn add(&mut self, (offer, limits, suppressions): Made) {
        self.reach.extend(offer.reach.map(|reach| (offer.slot, reach)));
        self.offers.push(offer);
        self.limits.extend(limits);
        self.suppressions.extend(suppressions);
    }
}

impl<'n> Candidate<'n> {
    fn known(piece: &OfferPiece<'_>, offer: &'n KnownOffer) -> Self {
        let place = (piece.file, piece.piece.first_line);
        let (mark, id_mark) = (offer.mark(offer.marks.0, place), offer.mark(offer.marks.1, place));
        Self { file: piece.file, id: offer.offer.name_id.clone(), mark, id_mark, state: State::Known(offer, place.1) }
    }
}

fn candidate<'n>(report: &mut Report<'_>, node: &'n Node, piece: Option<&'n OfferPiece<'n>>) -> Option<Candidate<'n>> {
    let before = report.count();
    let declared = declaration(report, node, &OFFER, Noun::Offer)?;
    let is_clean = report.count() == before;
    let (id, mark, id_mark) = (declared.id.clone(), declared.mark, declared.id_mark);
    Some(Candidate { file: mark.file, id, mark, id_mark, state: State::Fresh { declared, piece, is_clean } })
}

fn compiled(report: &mut Report<'_>, slot: OfferSlot, declared: &Declared<'_>, env: &OfferEnv<'_>) -> Made {
    let fields = &declared.fields;
    let offer = offer(report, slot, declared, env);
    let limits = fields.get("limits").map(|node| offer_limits(report, node, (&declared.id, slot), &env.names));
    let suppressions = fields.get("suppress").map(|node| suppressions(report, node, Some(slot), &env.names));
    (offer, limits.unwrap_or_default(), suppressions.unwrap_or_default())
}

impl OfferEnv<'_> {
    /// One number for everything that offers are compiled against.
    fn fingerprint(&self) -> u128 {
        let mut print = Fingerprint::new();
        self.texts.fingerprint(&mut print);
        print.note(&(self.channels, self.placements, self.issues, self.default_language));
        print.note(&(&self.issue_names, &self.placement_names, &self.names));
        print.finish()
    }
}

fn offer(report: &mut Report<'_>, slot: OfferSlot, declared: &Declared<'_>, env: &OfferEnv<'_>) -> Offer {
    let fields = &declared.fields;
    let purpose = fields.get("purpose").and_then(|node| report.one_of(node, &PURPOSES)).unwrap_or(Purpose::Marketing);
    let issue = fields.get("issue").and_then(|node| env.issue_names.read(report, node)).unwrap_or_default();
    let group = fields.get("group").and_then(|node| env.names.groups.read(report, node));
    let placements = fields.get("placements").map(|node| placements(report, node, env)).unwrap_or_default();
    let open = report.flag(fields.get("open"), true);
    // Names that could not be read are told elsewhere.
    let none_given =
        fields.get("placements").is_none_or(|node| matches!(&node.kind, Kind::List(all) if all.is_empty()));
    if !open && none_given {
        report.error(declared.mark, "the offer can never be chosen: give it `placements` or leave out `open: false`");
    }
    let name = fields.get("name").and_then(|node| report.label(node)).unwrap_or_else(|| declared.id.clone());
    let (lever, floor) = weights(report, fields, env.issues.get(issue.index()));
    let each = each(report, fields, env.texts.schema());
    let texts = env.texts.of_offer(each.map(|each| each.list));
    let treatments = treatments::read(report, declared, (&placements, texts), env);
    let mut condition = |name| fields.get(name).and_then(|node| texts.condition(report, node));
    let (eligibility, applicability) = (condition("eligibility"), condition("applicability"));
    let suitability = condition("suitability");
    let mut number = |name| fields.get(name).and_then(|node| texts.number(report, node));
    let (value, context_weight) = (number("value"), number("context_weight"));
    let words = [("exempt", true), ("included", false)];
    let verified = assurance(report, fields);
    let exempt = fields.get("holdout").and_then(|node| report.one_of(node, &words)).unwrap_or(false);
    Offer {
        slot,
        id: OfferId::of(&declared.id),
        name_id: declared.id.clone(),
        name,
        purpose,
        issue,
        group: group.unwrap_or(GroupSlot(0)),
        each,
        paused: report.flag(fields.get("paused"), false),
        schedule: fields.get("schedule").map(|node| schedule(report, node)).unwrap_or_default(),
        eligibility: eligibility.map(Arc::new),
        applicability: applicability.map(Arc::new),
        suitability: suitability.map(Arc::new),
        value: value.unwrap_or(Number::Constant(0.0)),
        context_weight,
        lever,
        floor,
        limits: Vec::new(),
        budget: fields.get("budget").and_then(|node| budget(report, node)),
        placements,
        open,
        verified,
        base_rate: fields.get("base_rate").and_then(|node| report.number(node, 0.0..=1.0)),
        attribution_us: fields.get("attribution").and_then(|node| report.duration(node)),
        holdout_exempt: exempt || purpose == Purpose::Service,
        treatments,
        reasons: fields.get("reason").map(|node| reasons(report, node, texts)).unwrap_or_default(),
        reach: fields.get("reach").map(|node| reach::of_offer(report, node)),
        labels: fields.get("labels").map(|node| labels(report, node)).unwrap_or_default(),
        allowed_lints: fields.get("allow_lint").map(|node| allowed(report, node)).unwrap_or_default(),
        position: report.position(declared.mark),
    }
}

/// Codes of findings.
fn allowed(report: &mut Report<'_>, node: &Node) -> Vec<&'static str> {
    let words = LINTS.map(|lint| (lint.code, lint.code));
    let nodes = report.list(node).unwrap_or_default();
    nodes.iter().filter_map(|node| report.one_of(node, &words)).collect()
}

/// For which records it is proposed: `p.LIST`.
fn each(report: &mut Report<'_>, fields: &Fields<'_>, schema: &Schema) -> Option<Each> {
    let repeat = fields.get("repeat");
    let may_repeat = report.flag(repeat, false);
    let Some(node) = fields.get("for_each") else {
        if let Some(repeat) = repeat {
            report.error(repeat.mark, "only an offer with `for_each` can repeat: leave `repeat` out");
        }
        return None;
    };
    let text = report.text(node)?;
    let slot = schema.by_name.get(&**text).copied();
    let def = slot.and_then(|slot| schema.attributes.get(slot.index()));
    if let Some(def) = def
        && let AttributeSource::Records(list) = def.source
    {
        let declared = schema.records.iter().find(|known| known.id == list);
        let max = declared.map_or(EACH_MAX, |list| list.max);
        let repeat = if may_repeat { Repeat::ByRecord } else { Repeat::Never };
        return Some(Each { list, keys: def.slot, max, repeat });
    }
    if def.is_some() || report.knows_all(Noun::Records) {
        let lists: Vec<String> = schema.records.iter().map(|list| format!("p.{}", list.name)).collect();
        let hint = report.did_you_mean(text, lists.iter().map(|list| &**list));
        let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        report.error(node.mark, format!("`{shown}` is no list of records, write `p.` and a list of `records`{hint}"));
    }
    None
}

/// The lever multiplied with the issue's; the larger of both floors.
fn weights(report: &mut Report<'_>, fields: &Fields<'_>, issue: Option<&Issue>) -> (f64, Option<f64>) {
    let lever = fields.get("lever").and_then(|node| report.number(node, 0.0..=f64::MAX)).unwrap_or(1.0);
    let floor = fields.get("floor").and_then(|node| report.number(node, f64::MIN..=f64::MAX));
    let lever = (lever * issue.map_or(1.0, |issue| issue.lever)).min(f64::MAX);
    let floor = match (floor, issue.and_then(|issue| issue.floor)) {
        (Some(own), Some(of_issue)) => Some(own.max(of_issue)),
        (own, of_issue) => own.or(of_issue),
    };
    (lever, floor)
}

fn placements(report: &mut Report<'_>, node: &Node, env: &OfferEnv<'_>) -> Vec<PlacementSlot> {
    let nodes = report.list(node).unwrap_or_default();
    let mut slots = Vec::new();
    for node in nodes {
        let Some(slot) = env.placement_names.read(report, node) else { continue };
        if slots.contains(&slot) {
            report.error(node.mark, "the placement stands twice");
        } else {
            slots.push(slot);
        }
    }
    slots.sort();
    slots
}

fn schedule(report: &mut Report<'_>, node: &Node) -> (Option<Timestamp>, Option<Timestamp>) {
    let Some(fields) = report.fields(node, &SCHEDULE) else { return (None, None) };
    let from = fields.get("from").and_then(|node| report.moment(node));
    let until = fields.get("until").and_then(|node| report.moment(node));
    if let (Some(begin), Some(end)) = (from, until)
        && begin >= end
    {
        report.error(node.mark, "the schedule ends before it begins: `from` must be before `until`");
    }
    (from, until)
}

fn reasons(report: &mut Report<'_>, node: &Node, texts: OfferTexts<'_>) -> Vec<(Arc<str>, Template)> {
    let mut reasons = Vec::new();
    for (key, value) in report.entries(node).unwrap_or_default() {
        let language = report.language(key.mark, &key.text);
        let template = texts.template(report, value, (Escape::None, &[]));
        if let (Some(language), Some(template)) = (language, template) {
            reasons.push((language, template));
        }
    }
    reasons.sort_by(|a, b| a.0.cmp(&b.0));
    reasons
}

fn labels(report: &mut Report<'_>, node: &Node) -> Vec<(Arc<str>, Arc<str>, Arc<str>)> {
    let mut labels = Vec::new();
    for (key, value) in report.entries(node).unwrap_or_default() {
        let language = report.language(key.mark, &key.text);
        let Some(fields) = report.fields(value, &LABELS) else { continue };
        let mut label = |name| fields.get(name).and_then(|node| report.label(node)).unwrap_or_default();
        let (accept, decline) = (label("accept"), label("decline"));
        if let Some(language) = language {
            labels.push((language, accept, decline));
        }
    }
    labels.sort();
    labels
}
