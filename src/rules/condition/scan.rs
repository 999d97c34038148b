//! CEL text cut into tokens: the base of positions, and of limits and
//! mistakes that are found before any parser sees the text.

use std::ops::Range;

/// The longest condition, bytes.
pub(super) const TEXT_BYTES_MAX: usize = 8 * 1024;

/// A mistake at a byte range of the text.
#[derive(Debug)]
pub(super) struct Mistake {
    pub span: Range<usize>,
    pub message: String,
}

impl Mistake {
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Word,
    Number,
    Text,
    Sign,
}

/// One token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub span: Range<usize>,
}

/// The tokens of a text.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    pub text: &'a str,
    pub list: Vec<Token>,
    /// The matching bracket of each bracket, else its own index.
    pub partner: Vec<usize>,
}

impl<'a> Tokens<'a> {
    /// Cuts a text.
    pub fn scan(text: &'a str) -> Result<Self, Mistake> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("the condition has {} bytes, at most {TEXT_BYTES_MAX} are allowed", text.len());
            return Err(Mistake::new(0..0, message));
        }
        let mut list = Vec::new();
        let mut at = 0;
        while let Some(c) = rest(text, at).chars().next() {
            if c.is_ascii_whitespace() {
                at += 1;
            } else if rest(text, at).starts_with("//") {
                at += rest(text, at).find('\n').unwrap_or(text.len() - at);
            } else {
                let token = token_at(text, at)?;
                at = token.span.end;
                list.push(token);
            }
        }
        let partner = (0..list.len()).collect();
        Ok(Self { text, list, partner })
    }

    /// The text of a token; empty past the end.
    pub fn get(&self, index: usize) -> &'a str {
        self.list.get(index).map_or("", |t| &self.text[t.span.clone()])
    }

    /// Where a token stands; the end of the text past the end.
    pub fn span(&self, index: usize) -> Range<usize> {
        self.list.get(index).map_or(self.text.len()..self.text.len(), |t| t.span.clone())
    }

    /// The token that begins at a byte offset.
    pub fn starting_at(&self, offset: usize) -> Option<usize> {
        self.list.binary_search_by_key(&offset, |t| t.span.start).ok()
    }
}

fn rest(text: &str, at: usize) -> &str {
    text.get(at..).unwrap_or("")
}

fn token_at(text: &str, at: usize) -> Result<Token, Mistake> {
    let tail = rest(text, at);
    let first = tail.chars().next().unwrap_or(' ');
    if let Some(token) = text_at(text, at)? {
        return Ok(token);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let len = tail.find(|c: char| !is_word(c)).unwrap_or(tail.len());
        return Ok(Token { kind: TokenKind::Word, span: at..at + len });
    }
    if first.is_ascii_digit() {
        return number_at(text, at);
    }
    const SIGNS: [&str; 23] = [
        "&&", "||", "==", "!=", "<=", ">=", "<>", "!", "<", ">", "+", "-", "*", "/", "%", "?", ":", ",", ".", "(", ")",
        "[", "]",
    ];
    if let Some((sign, message)) = FOREIGN.iter().find(|(sign, _)| tail.starts_with(sign)) {
        return Err(Mistake::new(at..at + sign.len(), *message));
    }
    if let Some(sign) = SIGNS.iter().find(|s| tail.starts_with(**s)) {
        return Ok(Token { kind: TokenKind::Sign, span: at..at + sign.len() });
    }
    let span = at..at + first.len_utf8();
    Err(Mistake::new(span, strange_sign(first)))
}

/// Operators of other languages.
const FOREIGN: [(&str, &str); 12] = [
    ("===", "`===` is not an operator, use `==`"),
    ("!==", "`!==` is not an operator, use `!=`"),
    ("=>", "`=>` is not an operator, use `>=`"),
    ("=<", "`=<` is not an operator, use `<=`"),
    ("=~", "`=~` is not an operator, use `p.name.matches('...')`"),
    ("!~", "`!~` is not an operator, use `!p.name.matches('...')`"),
    ("??", "`??` is not an operator, use `has(p.name) ? p.name : ...`"),
    ("?.", "`?.` is not an operator, ask with `has(...)` whether there is a value"),
    ("++", "`++` is not an operator"),
    ("**", "`**` is not an operator, use `*`"),
    ("->", "`->` is not an operator"),
    ("#", "`#` begins no note, use `//`"),
];

fn strange_sign(c: char) -> String {
    match c {
        '=' => "`=` does not compare, use `==`".into(),
        '&' => "`&` is not an operator, use `&&`".into(),
        '|' => "`|` is not an operator, use `||`".into(),
        '{' | '}' => "maps are not supported, use a list in `[` and `]`".into(),
        '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' => "typographic quotes do not quote, use `'` or `\"`".into(),
        '$' | '\u{20ac}' | '\u{a3}' => format!("`{c}` is not allowed here, write amounts as `money('12.50')`"),
        ';' => "`;` is not allowed here, join conditions by `&&`".into(),
        '`' => "`` ` `` does not quote, use `'` or `\"`".into(),
        '\u{2265}' | '\u{2264}' | '\u{2260}' | '\u{d7}' | '\u{f7}' | '\u{2212}' | '\u{2013}' => {
            format!("`{c}` is not an operator, use `{}`", plain_sign(c))
        }
        c if c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}') => {
            format!("character U+{:04X} is not allowed here, write a plain space or nothing", u32::from(c))
        }
        c if c.is_control() => format!("character U+{:04X} is not allowed here", u32::from(c)),
        c => format!("character `{c}` is not allowed here"),
    }
}

/// The operator that a sign of mathematics stands for.
fn plain_sign(c: char) -> &'static str {
    match c {
        '\u{2265}' => ">=",
        '\u{2264}' => "<=",
        '\u{2260}' => "!=",
        '\u{d7}' => "*",
        '\u{f7}' => "/",
        _ => "-",
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn number_at(text: &str, at: usize) -> Result<Token, Mistake> {
    let tail = rest(text, at).as_bytes();
    let digits = |from: usize| tail.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let mut len = digits(0);
    if tail.starts_with(b"0x") {
        len = 2 + tail.iter().skip(2).take_while(|b| b.is_ascii_hexdigit()).count();
    } else {
        if tail.get(len) == Some(&b'.') && digits(len + 1) > 0 {
            len += 1 + digits(len + 1);
        }
        if matches!(tail.get(len), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(tail.get(len + 1), Some(b'+' | b'-')));
            let power = digits(len + 1 + sign);
            len += if power > 0 { 1 + sign + power } else { 0 };
        }
    }
    match rest(text, at + len).chars().next() {
        Some('u' | 'U') => Err(Mistake::new(at..at + len + 1, "unsigned numbers are not supported, leave out the `u`")),
        Some('w' | 'd' | 'h' | 'm' | 's') => {
            let written = rest(text, at).split(|c: char| !is_word(c)).next().unwrap_or_default();
            Err(Mistake::new(at..at + len + 1, format!("a duration is written `duration('{written}')`")))
        }
        Some(c) if is_word(c) => Err(Mistake::new(at..at + len + 1, format!("`{c}` cannot follow a number"))),
        _ => Ok(Token { kind: TokenKind::Number, span: at..at + len }),
    }
}

fn text_at(text: &str, at: usize) -> Result<Option<Token>, Mistake> {
    let tail = rest(text, at);
    let prefix = tail.bytes().take_while(|b| matches!(b, b'r' | b'R' | b'b' | b'B')).take(2).count();
    let quoted = rest(tail, prefix);
    let Some(quote) = quoted.chars().next().filter(|c| matches!(c, '\'' | '"')) else { return Ok(None) };
    let marks = &tail[..prefix];
    if marks.contains(['b', 'B']) || prefix > 1 {
        return Err(Mistake::new(at..at + prefix, "bytes are not supported, leave out the prefix"));
    }
    let triple: String = [quote; 3].iter().collect();
    let close = if quoted.starts_with(&triple) { triple } else { quote.to_string() };
    let inside = rest(quoted, close.len());
    let Some(len) = find_close(inside, &close, prefix > 0) else {
        return Err(Mistake::new(at..at + prefix + 1, format!("this text is not closed, add `{quote}`")));
    };
    if prefix == 0 {
        check_escapes(inside, len, at + close.len())?;
    }
    let end = at + prefix + close.len() + len + close.len();
    Ok(Some(Token { kind: TokenKind::Text, span: at..end }))
}

/// What may follow a backslash in text.
const ESCAPES: &str = "abfnrtv\\?\"'`xXuU0123";

/// Whether every escape in the first bytes of a text is one; `from` is where
/// they stand.
fn check_escapes(inside: &str, len: usize, from: usize) -> Result<(), Mistake> {
    let mut chars = inside.get(..len).unwrap_or("").char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            continue;
        }
        if let Some((_, next)) = chars.next()
            && !ESCAPES.contains(next)
        {
            let span = from + at..from + at + 1 + next.len_utf8();
            let message = format!("`\\{next}` is no escape, write `\\\\{next}`, or the whole text as `r'...'`");
            return Err(Mistake::new(span, message));
        }
    }
    Ok(())
}

fn find_close(inside: &str, close: &str, raw: bool) -> Option<usize> {
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        if rest(inside, at).starts_with(close) {
            return Some(at);
        }
        if c == '\\' && !raw {
            chars.next();
        } else if matches!(c, '\n' | '\r') && close.len() == 1 {
            return None;
        }
    }
    None
}
