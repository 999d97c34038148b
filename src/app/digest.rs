//! Digests (XXH3-64) of questions and answers: what makes "the same body" and
//! "the same bytes" testable. Every field goes in with its length or a mark, so
//! that different values never feed the same bytes.

use std::cell::RefCell;

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{Decision, Factors, PlacementAnswer, Presentation, Request, TraceReport, Value};

/// The digest of a question, without its request id.
pub fn request(request: &Request) -> u64 {
    digest(|out| feed_request(out, request))
}

fn feed_request(out: &mut Digest, request: &Request) {
    out.list(&request.identities, |out, i| {
        out.number(u64::from(i.kind.0));
        out.bytes(&i.hash.0.to_le_bytes());
    });
    out.number(request.assurance as u64);
    out.text(&request.session_id);
    out.list(&request.placements, |out, p| {
        out.text(&p.name);
        out.number(u64::from(p.count));
    });
    out.list(&request.allowed_channels, |out, c| out.number(u64::from(c.0)));
    out.number(request.purpose.map_or(0, |p| p as u64));
    out.list(&request.context, |out, (id, value)| {
        out.number(u64::from(id.0));
        out.value(value);
    });
    out.number(request.page_consent.profiling as u64);
    out.number(request.page_consent.marketing as u64);
    out.list(&request.exclude_offers, |out, o| out.number(o.0));
    out.list(&request.exclude_items, |out, i| out.number(i.0));
    out.number(u64::from(request.time_budget_ms));
    out.number(request.intent as u64);
    out.number(request.view as u64);
    out.number(request.trace as u64);
    out.text(&request.consistency_token);
    out.list(&request.languages, |out, l| out.text(l));
    out.number(request.as_of.map_or(u64::MAX, |t| t.0 as u64));
    out.list(&request.overrides, |out, (id, value)| {
        out.number(u64::from(id.0));
        out.value(value);
    });
    // A visitor that came with the question is among the identities; one that was
    // made for the answer is not of the question.
    // Only when given: digests of questions in the log stay as they are.
    if request.send_window.is_set() {
        out.number(request.send_window.from.map_or(i64::MIN, |t| t.0) as u64);
        out.number(request.send_window.until.map_or(i64::MAX, |t| t.0) as u64);
    }
}

/// The digest of an answer. What did not exist once is fed only when it is
/// there, so that the digests of old answers stay what they were.
pub fn decision(decision: &Decision) -> u64 {
    digest(|out| feed_decision(out, decision))
}

fn feed_decision(out: &mut Digest, decision: &Decision) {
    out.bytes(&decision.id.0.to_le_bytes());
    out.number(decision.matched as u64);
    out.number(decision.ruleset.0);
    out.number(decision.level as u64);
    out.number(u64::from(decision.degraded.0));
    out.list(&decision.dropped, |out, d| out.number(*d as u64));
    out.text(&decision.consistency_token);
    out.number(decision.decided_at.0 as u64);
    out.list(&decision.placements, Digest::answer);
    out.trace(&decision.trace);
    if !decision.visitor_id.is_empty() {
        out.text(&decision.visitor_id);
    }
}

thread_local! {
    static BUFFER: RefCell<Digest> = const { RefCell::new(Digest(Vec::new())) };
}

/// A buffer that grew beyond this is given back, bytes.
const BUFFER_KEEP_BYTES: usize = 64 << 10;

/// The digest of what is fed. Gathered first: hashing at once is faster than
/// field by field.
fn digest(feed: impl FnOnce(&mut Digest)) -> u64 {
    BUFFER.with_borrow_mut(|out| {
        out.0.clear();
        out.0.shrink_to(BUFFER_KEEP_BYTES);
        feed(out);
        xxh3_64(&out.0)
    })
}

struct Digest(Vec<u8>);

impl Digest {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn float(&mut self, number: f64) {
        self.number(number.to_bits());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        for item in items {
            each(self, item);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(v) => self.number(u64::from(*v)),
            Value::Int(v) => self.number(*v as u64),
            Value::Double(v) => self.float(*v),
            Value::Text(v) => self.text(v),
            Value::Set(v) => self.list(v, |out, t| out.text(t)),
            Value::Timestamp(v) => self.number(v.0 as u64),
            Value::Date(v) => self.number(v.0 as u64),
            Value::Money(v) => self.number(*v as u64),
        }
        let kind = match value {
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::Double(_) => 3,
            Value::Text(_) => 4,
            Value::Set(_) => 5,
            Value::Timestamp(_) => 6,
            Value::Date(_) => 7,
            Value::Money(_) => 8,
        };
        self.number(kind);
    }

    fn answer(&mut self, answer: &PlacementAnswer) {
        self.text(&answer.placement);
        self.number(answer.status as u64);
        self.number(answer.silence.map_or(0, |s| s as u64));
        self.list(&answer.presentations, Self::presentation);
    }

    fn presentation(&mut self, p: &Presentation) {
        self.number(p.offer_id.0);
        self.number(u64::from(p.channel_id.0));
        self.text(&p.treatment);
        self.text(&p.message.subject);
        self.text(&p.message.text);
        self.text(&p.message.html);
        self.list(&p.data, |out, (name, value)| {
            out.text(name);
            out.value(value);
        });
        self.text(&p.image);
        self.list(&p.links, |out, (name, url)| {
            out.text(name);
            out.text(url);
        });
        self.text(&p.token);
        for time in [Some(p.valid_until), p.not_before, p.send_by] {
            self.number(time.map_or(u64::MAX, |t| t.0 as u64));
        }
        self.text(&p.name);
        self.record(&p.record_key);
        if let Some(agent) = &p.agent {
            for text in [&agent.talk_track, &agent.reason, &agent.accept_label, &agent.decline_label] {
                self.text(text);
            }
            self.list(&agent.decline_reasons, |out, (code, label)| {
                out.text(code);
                out.text(label);
            });
        }
        self.factors(&p.factors);
        self.list(&p.other_channels, |out, c| {
            out.text(&c.channel);
            out.number(c.reason as u64);
            out.float(c.net_priority);
        });
    }

    /// The key of a record; what speaks of none has the digest it always had.
    fn record(&mut self, key: &str) {
        if !key.is_empty() {
            self.text(key);
        }
    }

    fn factors(&mut self, f: &Factors) {
        for number in [
            f.propensity,
            f.evidence,
            f.value,
            f.channel_cost,
            f.context_weight,
            f.preference,
            f.lever,
            f.net_priority,
            f.choice_probability,
        ] {
            self.float(number);
        }
    }

    fn trace(&mut self, trace: &TraceReport) {
        self.list(&trace.counts, |out, (reason, count)| {
            out.number(*reason as u64);
            out.number(u64::from(*count));
        });
        self.list(&trace.candidates, |out, v| {
            out.text(&v.offer);
            out.text(v.channel.as_deref().unwrap_or(""));
            out.text(&v.placement);
            out.number(v.stage as u64);
            out.number(v.reason.map_or(0, |r| r as u64));
            out.text(&v.detail);
            out.record(&v.record_key);
            if let Some(factors) = &v.factors {
                out.factors(factors);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SendWindow, Timestamp, VisitorId};

    #[test]
    fn what_is_new_counts_only_when_it_is_there() {
        let plain = Request::default();
        let (from, until) = (Some(Timestamp(1)), Some(Timestamp(2)));
        let windows = [(from, None), (None, from), (from, until)];
        let asked = windows.map(|(from, until)| Request { send_window: SendWindow { from, until }, ..plain.clone() });
        let mut digests: Vec<u64> = asked.iter().chain([&plain]).map(request).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 4);
        // made for the answer, not asked
        let made = Request { visitor: Some(VisitorId(7)), ..plain.clone() };
        assert_eq!(request(&made), request(&plain));
        let answered = crate::grpc::convert::tests::answered();
        let given = Decision { visitor_id: "id".to_owned(), ..answered.clone() };
        assert_ne!(decision(&given), decision(&answered));
    }

    /// Digests stand in the log: they must stay what they were.
    #[test]
    fn digests_of_old_questions_stay() {
        // no identity, anonymous; session to time budget; present, render, no trace; the rest, without `as_of`
        let fed: [&[u64]; 5] = [&[0, 1], &[0; 10], &[1, 1, 1], &[0, 0], &[u64::MAX, 0]];
        let bytes: Vec<u8> = fed.concat().iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(request(&Request::default()), xxh3_64(&bytes));
    }
}
