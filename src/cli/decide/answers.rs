//! Answers to a file, a line each.

use anyhow::Context;
use bytes::Bytes;
use indicatif::ProgressBar;
use prost::Message;
use tokio::sync::mpsc;
use tonic::Code;

use crate::proto::{DecideStreamResponse, Problem, decide_stream_response::Result as Settled};

use super::{Told, json, on_the_way::Glance, sink::Sink};

/// Lines that are written at a time, bytes; fewer when no more answers wait.
const WRITE_BYTES: usize = 256 << 10;
/// Lines of the input whose problem is told; the others stand in the output.
const PROBLEMS_TOLD_MAX: u64 = 100;

/// The answer to a question.
#[derive(Debug)]
pub struct Answer {
    /// The message as it came.
    pub message: Bytes,
    /// What it is.
    pub kind: Glance,
    /// The line of its question.
    pub line: u64,
    /// The length of that line, bytes.
    pub line_bytes: u32,
}

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered with something to say.
    pub answered: u64,
    /// Answered with nothing to say.
    pub silent: u64,
    /// Refused, each with a problem in the output.
    pub problems: u64,
    /// Answered by an earlier run.
    pub passed: u64,
}

/// Writes answers.
pub struct Writer {
    /// Where to.
    pub sink: Sink,
    /// Shows how far it is.
    pub bar: ProgressBar,
    counts: Counts,
    json: Option<json::Answers>,
    lines: Vec<u8>,
    /// Bytes of input that the lines answer.
    moved: u64,
}

impl Writer {
    /// With nothing written.
    pub fn new(sink: Sink, bar: ProgressBar) -> Self {
        Self { sink, bar, counts: Counts::default(), json: json::Answers::new(), lines: Vec::new(), moved: 0 }
    }

    /// Writes until nobody tells any more. Blocking.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn run(mut self, mut told: mpsc::Receiver<Told>) -> anyhow::Result<Counts> {
        loop {
            let next = match told.try_recv() {
                Ok(next) => Some(next),
                Err(_) => {
                    self.flush()?;
                    told.blocking_recv()
                }
            };
            let Some(next) = next else { break };
            self.take(next)?;
            if self.lines.len() >= WRITE_BYTES {
                self.flush()?;
            }
        }
        self.flush()?;
        self.sink.close()?;
        Ok(self.counts)
    }

    fn take(&mut self, told: Told) -> anyhow::Result<()> {
        match told {
            Told::Answers(answers) => {
                for answer in &answers {
                    self.moved += u64::from(answer.line_bytes);
                    self.answer(answer)?;
                }
            }
            Told::Bad { line, bytes, request_id, why } => {
                let problem = Problem {
                    code: Code::InvalidArgument as i32,
                    reason: "BAD_LINE".to_owned(),
                    message: format!("line {line}: {why}"),
                    fields: Vec::new(),
                };
                self.moved += bytes;
                self.settled(line, &DecideStreamResponse { request_id, result: Some(Settled::Problem(problem)) })?;
            }
            Told::Passed { answered, bytes } => {
                self.counts.passed += answered;
                self.moved += bytes;
            }
        }
        Ok(())
    }

    fn answer(&mut self, answer: &Answer) -> anyhow::Result<()> {
        let at = self.lines.len();
        let known = self.json.as_ref().filter(|_| answer.kind == Glance::Answer);
        match known.map(|json| json.write(&answer.message, &mut self.lines)) {
            Some(Ok(told)) => {
                self.lines.push(b'\n');
                *if told { &mut self.counts.answered } else { &mut self.counts.silent } += 1;
                Ok(())
            }
            _ => {
                self.lines.truncate(at);
                let decoded = DecideStreamResponse::decode(answer.message.clone()).context("reading an answer")?;
                self.settled(answer.line, &decoded)
            }
        }
    }

    fn settled(&mut self, line: u64, settled: &DecideStreamResponse) -> anyhow::Result<()> {
        match &settled.result {
            Some(Settled::Answer(answer)) if answer.placements.iter().any(|p| !p.presentations.is_empty()) => {
                self.counts.answered += 1;
            }
            Some(Settled::Answer(_)) => self.counts.silent += 1,
            Some(Settled::Problem(problem)) => {
                self.counts.problems += 1;
                self.tell(line, problem);
            }
            None => anyhow::bail!("the answer to line {line} is neither an answer nor a problem"),
        }
        serde_json::to_writer(&mut self.lines, settled)
            .with_context(|| format!("writing the answer to line {line}"))?;
        self.lines.push(b'\n');
        Ok(())
    }

    fn tell(&self, line: u64, problem: &Problem) {
        let wrong: String = problem.fields.iter().map(|w| format!("; `{}` {}", w.field, w.description)).collect();
        let text = match problem.reason.as_str() {
            "BAD_LINE" => problem.message.clone(),
            _ => format!("line {line}: {}{wrong}", problem.message),
        };
        match self.counts.problems {
            1..=PROBLEMS_TOLD_MAX => self.bar.suspend(|| eprintln!("{text}")),
            next if next == PROBLEMS_TOLD_MAX + 1 => {
                self.bar.suspend(|| eprintln!("further problems are told in the output only"));
            }
            _ => {}
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if !self.lines.is_empty() {
            self.sink.write(&self.lines)?;
            self.lines.clear();
        }
        if self.moved > 0 {
            self.bar.inc(std::mem::take(&mut self.moved));
        }
        Ok(())
    }
}
