//! Where in a JSON text a message could not be decoded, and why, in words.

/// Most bytes of a path that is told.
const PATH_BYTES_MAX: usize = 200;
/// Most bytes of the reason that is told.
const REASON_BYTES_MAX: usize = 600;

/// Why a text could not be decoded, with the path of the field.
pub fn explain(text: &[u8], error: &serde_json::Error) -> String {
    let why = error.to_string();
    let why = match why.contains("untagged enum") {
        true => {
            format!("is not a number this field can hold at line {} column {}", error.line(), error.column())
        }
        false => cut(&why, REASON_BYTES_MAX),
    };
    let path = path_at(text, offset(text, error));
    if path.is_empty() { why } else { format!("`{}`: {why}", cut(&path, PATH_BYTES_MAX)) }
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(bytes_max)])
}

/// The byte just after what the error is about.
fn offset(text: &[u8], error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    (before + error.column()).min(text.len())
}

/// An object or a list that is open.
enum Level {
    /// With the name of the member at hand.
    Object(String),
    /// With the index of the element at hand.
    List(usize),
}

/// The path of the value that ends at or spans an offset. The decoder closes
/// the object whose last member is wrong before it reports the error, so a
/// closing bracket right there stands for what it closes.
fn path_at(text: &[u8], offset: usize) -> String {
    let mut levels: Vec<Level> = Vec::new();
    let mut closed: Option<String> = None;
    let (mut at, mut names) = (0, true);
    while let Some(byte) = text[..offset].get(at).copied() {
        at += 1;
        if !byte.is_ascii_whitespace() {
            closed = None;
        }
        match byte {
            b'{' => {
                levels.push(Level::Object(String::new()));
                names = true;
            }
            b'[' => levels.push(Level::List(0)),
            b'}' | b']' => {
                closed = Some(path(&levels));
                levels.pop();
            }
            b':' => names = false,
            b',' => {
                names = true;
                if let Some(Level::List(index)) = levels.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                let end = string_end(text, at);
                if let (true, Some(Level::Object(name))) = (names, levels.last_mut()) {
                    *name = String::from_utf8_lossy(&text[at..end]).into_owned();
                }
                at = end + 1;
            }
            _ => {}
        }
    }
    closed.unwrap_or_else(|| path(&levels))
}

/// Where the string ends that begins at an offset: at its closing quote.
fn string_end(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn path(levels: &[Level]) -> String {
    let mut path = String::new();
    // A list that is the message itself has no field to name.
    for level in levels.iter().filter(|_| !matches!(levels, [Level::List(_)])) {
        match level {
            Level::Object(name) if name.is_empty() => {}
            Level::Object(name) if path.is_empty() => path.push_str(name),
            Level::Object(name) => {
                path.push('.');
                path.push_str(name);
            }
            Level::List(index) => path.push_str(&format!("[{index}]")),
        }
        if path.len() > PATH_BYTES_MAX {
            break;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DecideRequest;

    fn why(text: &str) -> String {
        let error = serde_json::from_str::<DecideRequest>(text).expect_err("a mistake");
        explain(text.as_bytes(), &error)
    }

    #[test]
    fn the_field_is_named_with_its_path() {
        let cases = [
            (r#"{"placements":[{"placement":"a"},{"placement":"b","count":-1}]}"#, "`placements[1].count`: is not a n"),
            (r#"{"placements":[{"count":-1,"placement":"b"}]}"#, "`placements[0].count`: is not a number"),
            ("{\n \"placements\": [\n{\"plaecment\": \"a\"}]}", "`placements[0].plaecment`: unknown field"),
            (r#"{"sessionId":"a\"}","identities":[{"type":7}]}"#, "`identities[0].type`: invalid type"),
            (r#"{"view":"VIEW_EVERYTHING"}"#, "`view`: unknown variant"),
            (r#"{"asOf":"9999-12-31T00:00:00Z"}"#, "`asOf`: the moment is too late"),
            (r#"{"asOf":"soon"}"#, "`asOf`: invalid value"),
        ];
        for (text, start) in cases {
            assert!(why(text).starts_with(start), "{text}: {}", why(text));
        }
        assert!(!why("[]").starts_with('`'), "{}", why("[]"));
    }

    #[test]
    fn what_was_sent_is_not_sent_back_at_length() {
        let name = "é".repeat(5_000);
        assert!(why(&format!(r#"{{"{name}":1}}"#)).len() < 1_000);
        let deep = format!(r#"{{"context":{}1{}}}"#, r#"{"abc":"#.repeat(500), "}".repeat(500));
        assert!(why(&deep).len() < 400, "{}", why(&deep));
        for end in 0..deep.len() {
            let text = &deep[..end];
            let error = serde_json::from_str::<DecideRequest>(text).expect_err("cut short");
            explain(text.as_bytes(), &error);
        }
    }
}
