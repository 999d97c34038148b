//! The answer straight to protobuf: the bytes that [`decision::write`] would
//! encode to, without a copy of every text in between.

use std::{fmt::Display, io::Write, sync::Arc};

use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use smallvec::SmallVec;

use crate::domain::{
    Currency, Decision, PlacementAnswer, Presentation, Reason, Timestamp, Trace, TraceReport, Value, View,
};

use super::{
    decision::{self, Shown},
    reading, value,
};

/// Entries of a map that are sorted without allocating.
const INLINE_LEN: usize = 8;

/// Appends an answer to a buffer.
pub fn write(answer: &Decision, shown: Shown<'_>, into: &mut Vec<u8>) {
    response(&mut Fields { into }, answer, shown);
}

/// Appends the answer to a question of a stream to a buffer.
pub fn write_streamed(request_id: &str, answer: &Decision, shown: Shown<'_>, into: &mut Vec<u8>) {
    let out = &mut Fields { into };
    out.text(1, request_id);
    out.message(2, |out| response(out, answer, shown));
}

fn response(out: &mut Fields<'_>, answer: &Decision, shown: Shown<'_>) {
    out.display(1, answer.id);
    out.number(2, decision::matched(answer.matched) as u64);
    for one in &answer.placements {
        out.message(3, |out| placement(out, one, shown));
    }
    out.display(4, answer.ruleset);
    out.number(5, answer.level as u64);
    if answer.degraded.0 != 0 {
        out.message(6, |out| answer.degraded.iter().for_each(|flag| encode_varint(flag as u64, out.into)));
    }
    answer.dropped.iter().for_each(|what| out.element(7, what.name()));
    out.text(8, &answer.consistency_token);
    if shown.trace != Trace::None {
        out.message(9, |out| trace(out, &answer.trace, shown));
    }
    out.moment(10, answer.decided_at);
    out.text(11, &answer.visitor_id);
}

fn placement(out: &mut Fields<'_>, answer: &PlacementAnswer, shown: Shown<'_>) {
    out.text(1, &answer.placement);
    out.number(2, answer.status as u64);
    out.number(3, answer.silence.map_or(0, |reason| reason as u64));
    for (rank, one) in (1..).zip(&answer.presentations) {
        out.message(4, |out| presentation(out, rank, one, shown));
    }
}

fn presentation(out: &mut Fields<'_>, rank: u64, one: &Presentation, shown: Shown<'_>) {
    out.text(1, &one.offer);
    out.text(2, &one.treatment);
    out.text(3, &one.channel);
    out.text(4, &one.language);
    out.number(5, rank);
    out.message(6, |out| {
        out.text(1, &one.message.subject);
        out.text(2, &one.message.text);
        out.text(3, &one.message.html);
    });
    if !one.data.is_empty() {
        out.message(7, |out| data(out, &one.data, shown.currency));
    }
    out.text(9, &one.image);
    out.text(10, one.links.first().map_or("", |(_, url)| url));
    for (name, url) in sorted(&one.links) {
        out.message(11, |out| {
            out.text(1, name);
            out.text(2, url);
        });
    }
    out.text(12, &one.token);
    out.moment(13, one.valid_until);
    one.not_before.into_iter().for_each(|at| out.moment(14, at));
    one.send_by.into_iter().for_each(|at| out.moment(15, at));
    out.number(16, decision::purpose(one.purpose) as u64);
    out.text(17, &one.issue);
    out.text(18, &one.group);
    out.text(19, &one.name);
    if let Some(agent) = one.agent.as_ref().filter(|_| shown.view >= View::Agent) {
        out.encoded(20, &decision::agent(agent));
    }
    if shown.view == View::Full {
        out.encoded(21, &decision::factors(&one.factors));
    }
    one.other_channels.iter().for_each(|other| out.encoded(22, &decision::channel_verdict(other)));
    out.text(23, &one.record_key);
}

/// `google.protobuf.Struct`, its fields in order of their names.
fn data(out: &mut Fields<'_>, fields: &[(Arc<str>, Value)], currency: &Currency) {
    for (name, one) in sorted(fields) {
        out.message(1, |out| {
            out.text(1, name);
            match one {
                Value::Text(text) => out.message(2, |out| out.element(3, text)),
                other => out.encoded(2, &value::write_json(currency, other)),
            }
        });
    }
}

fn trace(out: &mut Fields<'_>, report: &TraceReport, shown: Shown<'_>) {
    let count = |out: &mut Fields<'_>, (reason, count): &(Reason, u32)| {
        out.number(1, *reason as u64);
        out.number(2, u64::from(*count));
    };
    report.counts.iter().for_each(|one| out.message(1, |out| count(out, one)));
    if shown.trace == Trace::Full {
        report.candidates.iter().for_each(|one| out.encoded(2, &decision::verdict(one, Vec::new())));
    }
}

/// The entries of a map in order of their names.
fn sorted<T>(entries: &[(Arc<str>, T)]) -> SmallVec<[&(Arc<str>, T); INLINE_LEN]> {
    let mut sorted: SmallVec<[_; INLINE_LEN]> = entries.iter().collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    sorted
}

/// Fields of one message; what has its default value is left out.
struct Fields<'a> {
    into: &'a mut Vec<u8>,
}

impl Fields<'_> {
    /// A whole number that is not negative, a truth value, an enum.
    fn number(&mut self, tag: u32, number: u64) {
        if number != 0 {
            encode_key(tag, WireType::Varint, self.into);
            encode_varint(number, self.into);
        }
    }

    fn text(&mut self, tag: u32, text: &str) {
        if !text.is_empty() {
            self.element(tag, text);
        }
    }

    /// A text that is there even when it is empty.
    fn element(&mut self, tag: u32, text: &str) {
        encode_key(tag, WireType::LengthDelimited, self.into);
        encode_varint(text.len() as u64, self.into);
        self.into.extend_from_slice(text.as_bytes());
    }

    /// A text that is written by its formatter.
    fn display(&mut self, tag: u32, what: impl Display) {
        // writing to a vector cannot fail
        self.message(tag, |out| write!(out.into, "{what}").unwrap_or_default());
    }

    fn moment(&mut self, tag: u32, at: Timestamp) {
        let at = reading::timestamp(at);
        self.message(tag, |out| {
            out.number(1, at.seconds.cast_unsigned());
            out.number(2, u64::from(at.nanos.cast_unsigned()));
        });
    }

    /// A message that is made first; for what is rare.
    fn encoded(&mut self, tag: u32, message: &impl Message) {
        self.message(tag, |out| message.encode_raw(out.into));
    }

    /// A message whose fields `write` appends.
    fn message(&mut self, tag: u32, write: impl FnOnce(&mut Fields<'_>)) {
        encode_key(tag, WireType::LengthDelimited, self.into);
        let length_at = self.into.len();
        self.into.push(0);
        write(&mut Fields { into: self.into });
        let len = self.into.len() - length_at - 1;
        if len < 0x80 {
            self.into[length_at] = len as u8;
        } else {
            self.make_room(length_at, len as u64);
        }
    }

    /// Puts a length that takes more than one byte where one was left.
    fn make_room(&mut self, length_at: usize, len: u64) {
        let mut length = SmallVec::<[u8; 10]>::new();
        let mut rest = len;
        while rest >= 0x80 {
            length.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        length.push(rest as u8);
        let (body_at, end) = (length_at + 1, self.into.len());
        self.into.resize(end + length.len() - 1, 0);
        self.into.copy_within(body_at..end, length_at + length.len());
        self.into[length_at..length_at + length.len()].copy_from_slice(&length);
    }
}
