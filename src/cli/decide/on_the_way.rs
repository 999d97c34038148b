//! The questions of a stream that have no answer yet, and whose answer a message
//! is.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use tonic::{Code, Status};

use crate::{
    cli::client,
    proto::{DecideStreamResponse, Problem, decide_stream_response::Result as Settled},
};

use super::{answers::Answer, questions::Pack};

/// Most questions on the way of one stream.
const ON_THE_WAY_MAX: usize = 1_024;
/// Most bytes of questions on the way of one stream, beyond one pack.
const ON_THE_WAY_BYTES_MAX: usize = 4 << 20;
/// How often a stream is opened again without an answer in between, and how
/// often a question is asked again that the service puts off.
pub const TRIES_MAX: u32 = 10;

/// Why a stream ended.
pub enum Broke {
    /// It may be opened again.
    Again(String),
    /// It would be the same again.
    For(anyhow::Error),
}

/// Questions on the way.
#[derive(Default)]
pub struct OnTheWay {
    /// By request id.
    pub questions: HashMap<Box<str>, Question>,
    /// Bytes of their messages.
    pub bytes: usize,
    /// Answers taken so far.
    pub answered: u64,
    /// Whether the stream was ever open.
    pub opened: bool,
}

/// A question without an answer.
pub struct Question {
    message: Bytes,
    line: u64,
    line_bytes: u32,
    /// How often the service put it off.
    put_off: u32,
}

impl Broke {
    /// By the status of the stream.
    pub fn of(status: &Status) -> Self {
        match status.code() {
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal => Broke::Again(format!("{:?}: {}", status.code(), status.message())),
            _ => Broke::For(client::refused("asking on a stream", status)),
        }
    }
}

impl OnTheWay {
    /// Notes what is asked now.
    pub fn add(&mut self, pack: &Pack) {
        let mut at = 0;
        for one in &pack.asked {
            let message = pack.messages.slice(at..one.end);
            at = one.end;
            self.bytes += message.len();
            let question = Question { message, line: one.line, line_bytes: one.line_bytes, put_off: 0 };
            self.questions.insert(one.request_id.clone(), question);
        }
    }

    /// Whether another pack may be asked.
    pub fn has_room(&self) -> bool {
        self.questions.len() < ON_THE_WAY_MAX && self.bytes < ON_THE_WAY_BYTES_MAX
    }

    /// What has no answer, in order of its lines.
    pub fn again(&self) -> Bytes {
        let mut questions: Vec<&Question> = self.questions.values().collect();
        questions.sort_unstable_by_key(|question| question.line);
        let mut messages = BytesMut::with_capacity(self.bytes);
        questions.iter().for_each(|question| messages.extend_from_slice(&question.message));
        messages.freeze()
    }

    /// A problem of the moment, not of the question, ends the stream: it is asked
    /// again on the next one, a bounded number of times.
    fn passing(&mut self, request_id: &str, problem: &Problem) -> Result<(), Broke> {
        let code = Code::from_i32(problem.code);
        if !matches!(code, Code::Unavailable | Code::ResourceExhausted | Code::Aborted) {
            return Ok(());
        }
        let why = format!("{code:?}: {}", problem.message);
        let Some(question) = self.questions.get_mut(request_id) else { return Err(Broke::Again(why)) };
        question.put_off += 1;
        if question.put_off <= TRIES_MAX {
            return Err(Broke::Again(why));
        }
        let line = question.line;
        Err(Broke::For(anyhow::anyhow!(
            "the service put line {line} off `{TRIES_MAX}` times: {why}; run the command again to go on where it ended"
        )))
    }

    /// Whose answer a message is.
    ///
    /// # Errors
    /// It cannot be read, or the question is put off.
    pub fn take(&mut self, message: Bytes) -> Result<Option<Answer>, Broke> {
        let unreadable = || Broke::For(anyhow::anyhow!("the service sent an answer that cannot be read"));
        let (request_id, kind) = glance(&message).ok_or_else(unreadable)?;
        if kind == Glance::Problem {
            let decoded = DecideStreamResponse::decode(message.clone()).map_err(|_| unreadable())?;
            if let Some(Settled::Problem(problem)) = decoded.result {
                self.passing(request_id, &problem)?;
            }
        }
        let Some(question) = self.questions.remove(request_id) else {
            return match request_id {
                "" => Err(Broke::For(anyhow::anyhow!("the service could not read a question: {}", told(&message)))),
                _ => Ok(None),
            };
        };
        self.bytes -= question.message.len();
        self.answered += 1;
        Ok(Some(Answer { message, kind, line: question.line, line_bytes: question.line_bytes }))
    }
}

fn told(message: &Bytes) -> String {
    match DecideStreamResponse::decode(message.clone()).ok().and_then(|decoded| decoded.result) {
        Some(Settled::Problem(problem)) => problem.message,
        _ => String::new(),
    }
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// An answer.
    Answer,
    /// A problem.
    Problem,
}

/// The request id of an answer and what it is, without decoding the rest.
fn glance(message: &[u8]) -> Option<(&str, Glance)> {
    const REQUEST_ID: u8 = 1 << 3 | 2;
    const ANSWER: u8 = 2 << 3 | 2;
    const PROBLEM: u8 = 3 << 3 | 2;
    let mut rest = message;
    let mut request_id = "";
    if rest.first() == Some(&REQUEST_ID) {
        rest.advance(1);
        let len = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
        let (id, after) = rest.split_at_checked(len)?;
        (request_id, rest) = (std::str::from_utf8(id).ok()?, after);
    }
    match rest.first() {
        Some(&ANSWER) => Some((request_id, Glance::Answer)),
        Some(&PROBLEM) => Some((request_id, Glance::Problem)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DecideResponse;

    fn settled(request_id: &str, result: Settled) -> Bytes {
        DecideStreamResponse { request_id: request_id.to_owned(), result: Some(result) }.encode_to_vec().into()
    }

    #[test]
    fn a_glance_tells_whose_answer_it_is() {
        let answer = Settled::Answer(DecideResponse { decision_id: "x".repeat(200), ..DecideResponse::default() });
        for id in ["a", "", &"y".repeat(300)] {
            assert_eq!(glance(&settled(id, answer.clone())), Some((id, Glance::Answer)));
            let problem = Settled::Problem(Problem { code: 3, ..Problem::default() });
            assert_eq!(glance(&settled(id, problem)), Some((id, Glance::Problem)));
        }
        assert_eq!(glance(&[]), None);
        assert_eq!(glance(&[10, 200, 1]), None);
    }

    #[test]
    fn what_the_moment_is_to_blame_for_is_asked_again() {
        let mut on_the_way = OnTheWay::default();
        let asked = vec![super::super::questions::Asked { request_id: "a".into(), line: 1, line_bytes: 9, end: 3 }];
        on_the_way.add(&Pack { messages: Bytes::from_static(b"abc"), asked });
        let problem = |code: Code| Settled::Problem(Problem { code: code as i32, ..Problem::default() });
        assert!(matches!(on_the_way.take(settled("a", problem(Code::Unavailable))), Err(Broke::Again(_))));
        assert_eq!(on_the_way.again(), "abc");
        for _ in 1..TRIES_MAX {
            assert!(matches!(on_the_way.take(settled("a", problem(Code::Unavailable))), Err(Broke::Again(_))));
        }
        assert!(matches!(on_the_way.take(settled("a", problem(Code::Unavailable))), Err(Broke::For(_))));
        assert!(matches!(on_the_way.take(settled("b", problem(Code::InvalidArgument))), Ok(None)));
        let answer = on_the_way.take(settled("a", problem(Code::InvalidArgument))).ok().flatten();
        assert_eq!(answer.map(|a| (a.line, a.line_bytes)), Some((1, 9)));
        assert!(on_the_way.questions.is_empty() && on_the_way.bytes == 0);
        assert!(matches!(on_the_way.take(settled("", problem(Code::InvalidArgument))), Err(Broke::For(_))));
    }
}
