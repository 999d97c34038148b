//! A line of the output, as another run finds it.

/// How every line begins.
const HEAD: &[u8] = b"{\"requestId\":\"";
/// What follows the id of an answer, and of a problem.
const KINDS: [&[u8]; 2] = [b",\"answer\":{", b",\"problem\":{"];
/// Digits of the hash in a derived id.
const HASH_DIGITS: usize = 16;

/// What stands in a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The id of the question.
    pub request_id: String,
    /// Whether it is a problem.
    pub is_problem: bool,
}

/// Reads a whole line; `None` when it is not one of ours.
pub fn read(line: &[u8]) -> Option<Found> {
    let line = line.strip_suffix(b"\n")?;
    let (id, rest) = split(line)?;
    let kind = KINDS.iter().position(|kind| rest.starts_with(kind))?;
    let whole = rest.ends_with(b"}}") && rest.len() > KINDS[kind].len();
    let request_id = match id.contains(&b'\\') {
        true => serde_json::from_slice(&[b"\"", id, b"\""].concat()).ok()?,
        false => std::str::from_utf8(id).ok()?.to_owned(),
    };
    whole.then_some(Found { request_id, is_problem: kind == 1 })
}

/// Whether the end of a file can be the beginning of one of our lines.
pub fn torn(end: &[u8]) -> bool {
    match split(end) {
        Some((_, rest)) => KINDS.iter().any(|kind| rest.starts_with(kind) || kind.starts_with(rest)),
        // torn before the end of the id
        None => end.starts_with(HEAD) || HEAD.starts_with(end),
    }
}

/// The id as it is written, and what follows it.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = line.strip_prefix(HEAD)?;
    let mut escaped = false;
    let end = rest.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    Some((&rest[..end], &rest[end + 1..]))
}

/// How the ids begin that are derived from questions with this hash.
pub fn derived_prefix(hash: u64) -> String {
    format!("{hash:0HASH_DIGITS$x}-")
}

/// Whether an id looks derived.
pub fn is_derived(id: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parts = id.split_once('-');
    parts.is_some_and(|(hash, line)| hash.len() == HASH_DIGITS && hex(hash) && line.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_lines_are_answers() {
        let found = |id: &str, is_problem| Some(Found { request_id: id.to_owned(), is_problem });
        assert_eq!(read(b"{\"requestId\":\"a\",\"answer\":{}}\n"), found("a", false));
        assert_eq!(read(b"{\"requestId\":\"b\\\"\\\\\",\"problem\":{\"code\":3}}\n"), found("b\"\\", true));
        for other in
            ["{\"requestId\":\"a\",\"placements\":[]}\n", "{\"requestId\":\"a\"}\n", "{}\n", "\n", "a,\"answer\":{}}\n"]
        {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn every_beginning_of_a_line_may_be_torn() {
        let line = b"{\"requestId\":\"a\\\"b\",\"answer\":{\"x\":[]}}";
        for end in 0..=line.len() {
            assert!(torn(&line[..end]), "{end}");
        }
        assert!(!torn(b"{\"requestId\":\"a\",\"placements\"") && !torn(b"{\"requestId\": \"a\"") && !torn(b"text"));
    }

    #[test]
    fn derived_ids_look_so() {
        assert!(is_derived(&format!("{}12", derived_prefix(7))));
        assert!(!is_derived("march-17850") && !is_derived("0000000000000007-x"));
    }
}
