//! Questions from a file, a line each, packed for the stream.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;

use crate::{
    http::path,
    proto::{DecideRequest, DecideStreamRequest},
};

use super::{
    Told,
    defaults::Defaults,
    seen::{Seen, Standing},
};

/// The longest line that is read, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Most questions of a pack.
pub const PACK_LEN_MAX: usize = 128;
/// A pack with so many bytes is full.
const PACK_BYTES: usize = 32 << 10;
/// Bytes before a message: a flag and its length.
const PREFIX_BYTES: usize = 5;

/// Questions as they go on the wire.
pub struct Pack {
    /// Their messages, each with its length before it.
    pub messages: Bytes,
    /// Whose they are, in the same order.
    pub asked: Vec<Asked>,
}

/// One question of a pack.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id.
    pub request_id: Box<str>,
    /// Its line, from 1.
    pub line: u64,
    /// The length of the line, bytes.
    pub line_bytes: u32,
    /// Where its message ends in the pack.
    pub end: usize,
}

/// Reads a file and packs its questions.
pub struct Questions {
    /// What lines take over.
    pub defaults: Defaults,
    /// What was answered before.
    pub seen: Seen,
    /// Where packs go.
    pub packs: mpsc::Sender<Pack>,
    /// Where lines go that are not asked.
    pub told: mpsc::Sender<Told>,
}

/// Nobody takes questions any more.
struct Gone;

impl Questions {
    /// Reads to the end, or until nobody takes questions any more. Blocking.
    /// Answers what was seen.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(mut self, path: &Path) -> anyhow::Result<Seen> {
        let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut packing = Packing::default();
        let mut raw = Vec::new();
        for line in 1_u64.. {
            raw.clear();
            let reading = || format!("reading `{}` at line {line}", path.display());
            let Some(line_bytes) = next_line(&mut reader, &mut raw).with_context(reading)? else { break };
            let taken = self.take(&mut packing, &raw, (line, line_bytes));
            if taken.is_err() {
                return Ok(self.seen);
            }
        }
        self.send(&mut packing).ok();
        Ok(self.seen)
    }

    fn take(&mut self, packing: &mut Packing, raw: &[u8], (line, line_bytes): (u64, u64)) -> Result<(), Gone> {
        let text = raw.trim_ascii();
        if text.is_empty() {
            return self.tell(Told::Passed { answered: 0, bytes: line_bytes });
        }
        let (request_id, standing, question) = match parse(raw, text) {
            Ok(mut question) => {
                self.defaults.fill(&mut question);
                let standing = match question.request_id.as_str() {
                    "" => self.seen.meet_line(line),
                    given => self.seen.meet(given),
                };
                if question.request_id.is_empty() {
                    question.request_id = self.seen.derived(line);
                }
                (question.request_id.clone(), standing, Ok(question))
            }
            Err(why) => (self.seen.derived(line), self.seen.meet_line(line), Err(why)),
        };
        let bad = match (standing, question) {
            (Standing::Answered, _) => return self.tell(Told::Passed { answered: 1, bytes: line_bytes }),
            (Standing::New, Ok(question)) => {
                packing.add(question, (line, line_bytes));
                if packing.is_full() {
                    return self.send(packing);
                }
                return Ok(());
            }
            (Standing::Repeated, _) => {
                if self.seen.meet_line(line) == Standing::Answered {
                    return self.tell(Told::Passed { answered: 1, bytes: line_bytes });
                }
                format!("repeats the request id `{request_id}` of an earlier line")
            }
            (Standing::New, Err(why)) => why,
        };
        let request_id = self.seen.derived(line);
        self.tell(Told::Bad { line, bytes: line_bytes, request_id, why: bad })
    }

    fn send(&self, packing: &mut Packing) -> Result<(), Gone> {
        match packing.pack() {
            Some(pack) => self.packs.blocking_send(pack).map_err(|_| Gone),
            None => Ok(()),
        }
    }

    fn tell(&self, told: Told) -> Result<(), Gone> {
        self.told.blocking_send(told).map_err(|_| Gone)
    }
}

/// A pack that is not full.
#[derive(Default)]
struct Packing {
    messages: Vec<u8>,
    asked: Vec<Asked>,
}

impl Packing {
    fn add(&mut self, question: DecideRequest, (line, line_bytes): (u64, u64)) {
        if self.messages.capacity() == 0 {
            self.messages.reserve(PACK_BYTES * 2);
        }
        let at = self.messages.len();
        self.messages.extend_from_slice(&[0; PREFIX_BYTES]);
        let request_id = question.request_id.as_str().into();
        DecideStreamRequest { question: Some(question) }.encode_raw(&mut self.messages);
        // INVARIANT: a line is far shorter than 4 GiB
        let len = u32::try_from(self.messages.len() - at - PREFIX_BYTES).unwrap_or_default();
        self.messages[at + 1..at + PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
        let line_bytes = u32::try_from(line_bytes).unwrap_or(u32::MAX);
        self.asked.push(Asked { request_id, line, line_bytes, end: self.messages.len() });
    }

    fn is_full(&self) -> bool {
        self.asked.len() >= PACK_LEN_MAX || self.messages.len() >= PACK_BYTES
    }

    fn pack(&mut self) -> Option<Pack> {
        let Self { messages, asked } = std::mem::take(self);
        (!asked.is_empty()).then(|| Pack { messages: messages.into(), asked })
    }
}

fn parse(raw: &[u8], text: &[u8]) -> Result<DecideRequest, String> {
    if raw.len() > LINE_BYTES_MAX {
        return Err(format!("the line has more than {LINE_BYTES_MAX} bytes"));
    }
    serde_json::from_slice(text).map_err(|error| format!("not a question: {}", path::explain(text, &error)))
}

/// Reads a line, of one that is too long only its beginning; answers its length
/// in the file, `None` at the end.
fn next_line(reader: &mut impl BufRead, raw: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let mut bytes = 0_u64;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok((bytes > 0).then_some(bytes));
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len(), |at| at + 1);
        let room = (LINE_BYTES_MAX + 1).saturating_sub(raw.len());
        raw.extend_from_slice(chunk.get(..taken.min(room)).unwrap_or_default());
        reader.consume(taken);
        bytes += taken as u64;
        if end.is_some() {
            return Ok(Some(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::cli::decide::defaults::Options;

    /// The ids asked, and what was told of other lines.
    fn read(lines: &str, answered: impl Fn(&mut Seen)) -> (Vec<String>, Vec<String>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        let defaults = Defaults::new(Options::default().question().unwrap());
        let mut seen = Seen::of_file(file.path(), &defaults.fingerprint()).unwrap();
        answered(&mut seen);
        let prefix = seen.derived(0).trim_end_matches('0').to_owned();
        let ((packs, mut packed), (told, mut heard)) = (mpsc::channel(100), mpsc::channel(100));
        Questions { defaults, seen, packs, told }.read(file.path()).unwrap();
        let mut asked = Vec::new();
        while let Ok(pack) = packed.try_recv() {
            let mut at = 0;
            for one in &pack.asked {
                let message = DecideStreamRequest::decode(&pack.messages[at + PREFIX_BYTES..one.end]).unwrap();
                assert_eq!(message.question.unwrap().request_id, &*one.request_id);
                asked.push(format!("{} {}", one.line, one.request_id.replace(&prefix, "#")));
                at = one.end;
            }
        }
        let mut others = Vec::new();
        while let Ok(told) = heard.try_recv() {
            others.push(match told {
                Told::Bad { line, request_id, why, .. } => format!("{line} {} {why}", request_id.replace(&prefix, "#")),
                Told::Passed { answered, .. } => format!("passed {answered}"),
                Told::Answers(_) => "answers".to_owned(),
            });
        }
        (asked, others)
    }

    const LINES: &str =
        "{\"requestId\": \"a\"}\n{}\n\n{\"requestId\": \"a\"}\n{\"placement\": 1}\n{\"sessionId\": \"s\"}";

    #[test]
    fn every_line_is_asked_or_told() {
        let (asked, others) = read(LINES, |_| ());
        assert_eq!(asked, ["1 a", "2 #2", "6 #6"]);
        assert_eq!(others.len(), 3, "{others:?}");
        assert_eq!(others[..2], ["passed 0", "4 #4 repeats the request id `a` of an earlier line"]);
        assert!(others[2].starts_with("5 #5 not a question: "), "{others:?}");
    }

    #[test]
    fn what_was_answered_is_passed_over_also_what_was_bad() {
        let (asked, others) = read(LINES, |seen| {
            for id in ["a".to_owned(), seen.derived(4), seen.derived(5), seen.derived(6)] {
                seen.answered(&id);
            }
        });
        assert_eq!(asked, ["2 #2"]);
        assert_eq!(others, ["passed 1", "passed 0", "passed 1", "passed 1", "passed 1"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_bad_by_itself() {
        let long = format!("{{\"sessionId\": \"{}\"}}\n{{}}\n", "x".repeat(LINE_BYTES_MAX));
        let (asked, others) = read(&long, |_| ());
        assert_eq!(asked, ["2 #2"]);
        assert!(others[0].contains("more than"), "{others:?}");
    }
}
