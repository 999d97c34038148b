//! The shape of replies, as far as a proxy must know it to cut between them.

/// The bytes of the first whole reply; none while it is not whole.
pub fn reply_len(bytes: &[u8]) -> Option<usize> {
    let line = line_len(bytes)?;
    let count = || std::str::from_utf8(&bytes[1..line - 2]).expect("a number").parse::<i64>().expect("a number");
    match bytes[0] {
        b'$' | b'=' | b'!' => {
            let whole = usize::try_from(count()).map_or(line, |body| line + body + 2);
            (bytes.len() >= whole).then_some(whole)
        }
        b'*' | b'~' | b'>' => parts_len(bytes, line, count()),
        b'%' => parts_len(bytes, line, 2 * count()),
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Some(line),
        other => panic!("a reply that begins with {other}"),
    }
}

fn line_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n").map(|at| at + 2)
}

fn parts_len(bytes: &[u8], line: usize, parts: i64) -> Option<usize> {
    let mut whole = line;
    for _ in 0..parts.max(0) {
        whole += reply_len(bytes.get(whole..)?)?;
    }
    Some(whole)
}

#[test]
fn replies_are_cut_where_they_end() {
    for reply in [
        "+OK\r\n",
        "-ERR no\r\n",
        ":12\r\n",
        "_\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "$5\r\na\r\nbc\r\n",
        "*-1\r\n",
        "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        "%1\r\n+a\r\n*0\r\n",
        "=7\r\ntxt:abc\r\n",
    ] {
        let bytes = [reply.as_bytes(), b"+next\r\n"].concat();
        assert_eq!(reply_len(&bytes), Some(reply.len()), "{reply:?}");
        for cut in 0..reply.len() {
            assert_eq!(reply_len(&reply.as_bytes()[..cut]), None, "{reply:?} cut at {cut}");
        }
    }
}
