//! Many cases: one a line in, one a line out, in the same order.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use serde_json::{Map, Value as Json, json};

use crate::{
    domain::Timestamp,
    grpc::convert::suggest::{did_you_mean, quoted},
};

use super::{
    desk::{Desk, Refused},
    moment,
};

/// The longest line that is read, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// What a case holds.
const KEYS: [&str; 4] = ["id", "expr", "given", "at"];

/// Answers every line of a file, or of standard input for `-`.
///
/// # Errors
/// The file cannot be read, or standard output not written.
pub fn run(desk: &mut Desk<'_>, path: &Path, at: Timestamp) -> anyhow::Result<ExitCode> {
    let source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).with_context(|| format!("opening `{}`", path.display()))?)
    };
    let mut reader = BufReader::with_capacity(1 << 16, source);
    let mut writer = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match answer_all(desk, &mut reader, &mut writer, at) {
        // A reader that has gone (`| head`) needs no more lines.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).with_context(|| format!("answering the cases of `{}`", path.display())),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// Answers lines until there are no more: one each, also the blank ones.
pub fn answer_all<R: Read>(
    desk: &mut Desk<'_>,
    reader: &mut BufReader<R>,
    writer: &mut impl Write,
    at: Timestamp,
) -> io::Result<()> {
    let mut raw = Vec::new();
    for number in 1_u64.. {
        raw.clear();
        if !next_line(reader, &mut raw)? {
            break;
        }
        let answer = answer_line(desk, &raw, (number, at));
        writeln!(writer, "{answer}")?;
        // Whoever writes a line and waits for its answer gets it.
        if reader.buffer().is_empty() {
            writer.flush()?;
        }
    }
    writer.flush()
}

/// Reads a line; of one that is too long only its beginning is kept.
fn next_line<R: Read>(reader: &mut BufReader<R>, raw: &mut Vec<u8>) -> io::Result<bool> {
    let mut any = false;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len(), |at| at + 1);
        let room = (LINE_BYTES_MAX + 1).saturating_sub(raw.len());
        raw.extend_from_slice(&chunk[..taken.min(room)]);
        reader.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Answers a line. Faults of the line itself have `input_line` and
/// `input_column`; `line` and `column` are places in the expression.
fn answer_line(desk: &mut Desk<'_>, raw: &[u8], (number, at): (u64, Timestamp)) -> Json {
    let fault = |message: String| json!({"error": {"input_line": number, "message": message}});
    // without the line feed a line that is cut off ends where it was cut
    let line = raw.trim_ascii_end();
    if line.is_empty() {
        return fault("empty line".to_owned());
    }
    if raw.len() > LINE_BYTES_MAX {
        return fault(format!("the line has more than {LINE_BYTES_MAX} bytes"));
    }
    let case = match serde_json::from_slice::<Map<String, Json>>(line) {
        Ok(case) => case,
        Err(wrong) => {
            let why = wrong.to_string();
            let why = why.split(" at line ").next().unwrap_or_default();
            let column = if wrong.is_eof() { line.len() + 1 } else { wrong.column().max(1) };
            let message = format!("not a JSON object with `expr` and `given`: {why}");
            return json!({"error": {"input_line": number, "input_column": column, "message": message}});
        }
    };
    let mut answer = match Case::read(&case, at) {
        Ok(read) => read.answer(desk),
        Err(message) => fault(message),
    };
    if let (Some(id), Json::Object(fields)) = (case.get("id"), &mut answer) {
        fields.insert("id".to_owned(), id.clone());
    }
    answer
}

struct Case<'j> {
    expr: &'j str,
    given: Option<&'j Json>,
    at: Timestamp,
}

impl<'j> Case<'j> {
    fn read(case: &'j Map<String, Json>, now: Timestamp) -> Result<Self, String> {
        if let Some(strange) = case.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let hint = did_you_mean(strange, KEYS.into_iter());
            return Err(format!("unknown key {}{hint}", quoted(strange)));
        }
        let Some(Json::String(expr)) = case.get("expr") else {
            return Err("`expr` is missing or no string: give the expression".into());
        };
        let at = match case.get("at") {
            None | Some(Json::Null) => now,
            Some(Json::String(text)) => moment(text)?,
            Some(_) => return Err("`at` is no string: give a time like `2026-01-31T12:00:00Z`".into()),
        };
        Ok(Self { expr, given: case.get("given").filter(|given| !given.is_null()), at })
    }

    fn answer(&self, desk: &mut Desk<'_>) -> Json {
        let nothing = Json::Object(Map::new());
        match desk.answer(self.expr, self.given.unwrap_or(&nothing), self.at) {
            Ok(answer) => desk.in_json(&answer),
            Err(Refused::Given(lines)) => json!({"error": {"message": format!("given: {}", lines.join("; "))}}),
            Err(Refused::Rules(errors)) => {
                let told = |error: &crate::rules::RuleError| {
                    let at = &error.position;
                    if &*at.path == super::EXPRESSION {
                        json!({"line": at.line, "column": at.column, "message": error.message})
                    } else {
                        json!({"path": &*at.path, "line": at.line, "column": at.column, "message": error.message})
                    }
                };
                json!({"error": errors.first().map(told)})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{SourceFile, Vocabulary};

    const SCHEMA: &str = "\n\
        attributes:\n\
        - { id: age, type: int }\n\
        - { id: vip, type: bool }\n\
        - { id: credit, type: money }\n\
        segments: [{ id: grown, when: p.age >= macro.limit }]\n\
        macros: [{ id: limit, expression: '18' }, { id: broken, expression: p.agee }]\n";

    fn answers(lines: &str) -> Vec<String> {
        let file = SourceFile { path: "schema.yaml".into(), text: SCHEMA.into() };
        let vocabulary = Vocabulary::read(&[file]).expect("a schema");
        let mut written = Vec::new();
        let mut reader = BufReader::with_capacity(16, lines.as_bytes());
        answer_all(&mut Desk::new(&vocabulary), &mut reader, &mut written, Timestamp(0)).expect("answers");
        String::from_utf8(written).expect("text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_line_is_answered_in_order() {
        let lines = r#"{"expr": "p.age > 30", "given": {"p": {"age": 40}}}
{"expr": "p.age > 30", "given": {"p": {"age": 20}}}

{"expr": "p.age > 30 && p.vip", "given": {"p": {"vip": true}}}
not JSON
{"expr": "p.age > > 3"}
{"expr": "seg.grown", "given": {"p": {"age": 18}}}
{"expr": "macro.broken"}
{"expr": "p.age + 2", "given": {"p": {"age": 40}}}
{"expr": "p.credit * 2", "given": {"p": {"credit": 1.25}}}
{"expr": "p.age > 30", "given": {"p": {"age": "x", "agee": 1}}}
{"expr": "now", "at": "2011-01-01"}
{"expr": "now", "at": "soon"}
{"exp": "now"}
{"expr": "1 / 0 > 1", "given": null, "id": 7}
{"expr": "1", "id": {"case": "b"}}
{"expr": "1
"#;
        let wanted = [
            r#"{"value":true}"#,
            r#"{"value":false}"#,
            r#"{"error":{"input_line":3,"message":"empty line"}}"#,
            r#"{"unknown":["p.age"],"value":"unknown"}"#,
            r#"{"error":{"input_column":2,"input_line":5,"message":"not a JSON object with `expr` and `given`: expected ident"}}"#,
            r#"{"error":{"column":9,"line":1,"message":"a value is missing before `>`"}}"#,
            r#"{"value":true}"#,
            r#"{"error":{"column":69,"line":7,"message":"unknown attribute `p.agee`; did you mean `p.age`?","path":"schema.yaml"}}"#,
            r#"{"value":42}"#,
            r#"{"value":2.5}"#,
            r#"{"error":{"message":"given: `p.age` (int) is a string: give a whole number; unknown attribute `p.agee`; did you mean `p.age`"}}"#,
            r#"{"value":"2011-01-01T00:00:00Z"}"#,
            r#"{"error":{"input_line":13,"message":"`soon` is not a time: write it as `2026-01-31T12:00:00Z` or `2026-01-31`"}}"#,
            r#"{"error":{"input_line":14,"message":"unknown key `exp`; did you mean `expr`"}}"#,
            r#"{"id":7,"reason":"a calculation has no result","unknown":[],"value":"unknown"}"#,
            r#"{"id":{"case":"b"},"value":1}"#,
            r#"{"error":{"input_column":12,"input_line":17,"message":"not a JSON object with `expr` and `given`: EOF while parsing a string"}}"#,
        ];
        assert_eq!(answers(lines), wanted);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_by_itself() {
        let long = format!("{{\"expr\": \"{}\"}}\n{{\"expr\": \"1\"}}", "x".repeat(LINE_BYTES_MAX));
        let answers = answers(&long);
        assert!(answers[0].contains("the line has more than"), "{}", answers[0]);
        assert_eq!(answers[1], r#"{"value":1}"#);
    }
}
