//! Whether tokens follow each other as they must, told in the words of an
//! author; and the bound on depth that keeps every recursion behind it short.

use super::scan::{Mistake, TokenKind, Tokens};
use crate::rules::compile_env::did_you_mean;

/// The deepest nesting of brackets, operators and calls.
pub(super) const DEPTH_MAX: usize = 64;

/// Functions that stand before their brackets.
pub(super) const FUNCTIONS: [&str; 8] = ["has", "size", "double", "int", "money", "timestamp", "duration", "date"];
/// Functions that stand behind a value and a point.
pub(super) const METHODS: [&str; 19] = [
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "size",
    "exists",
    "all",
    "exists_one",
    "filter",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

/// Checks the order of the tokens and pairs the brackets; answers the depth.
pub(super) fn check(tokens: &mut Tokens<'_>) -> Result<usize, Mistake> {
    let mut order = Order { levels: vec![Level::new(Bracket::None, 0)], want: Want::Value };
    let mut deepest = 0;
    for at in 0..tokens.list.len() {
        match order.want {
            Want::Value => order.value(tokens, at)?,
            Want::Operator => order.operator(tokens, at)?,
            Want::Field => order.field(tokens, at)?,
        }
        let level = order.levels.last().map_or(0, |l| l.depth);
        deepest = deepest.max(order.levels.len() + level);
        if deepest > DEPTH_MAX {
            let message = format!("the condition is nested deeper than {DEPTH_MAX} levels, split it into segments");
            return Err(Mistake::new(tokens.span(at), message));
        }
    }
    order.finish(tokens)?;
    Ok(deepest)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Value,
    Operator,
    Field,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    None,
    Group,
    Call,
    List,
}

struct Level {
    bracket: Bracket,
    open: usize,
    /// Choices (`? :`) that wait for their colon.
    choices: usize,
    /// Choices so far: each nests the next.
    nested: usize,
    /// Depth of the operand being read, and the deepest before it.
    depth: usize,
    deepest: usize,
}

impl Level {
    fn new(bracket: Bracket, open: usize) -> Self {
        Self { bracket, open, choices: 0, nested: 0, depth: 0, deepest: 0 }
    }

    fn next_operand(&mut self) {
        self.deepest = self.deepest.max(self.depth);
        self.depth = self.nested;
    }
}

struct Order {
    levels: Vec<Level>,
    want: Want,
}

impl Order {
    fn value(&mut self, tokens: &mut Tokens<'_>, at: usize) -> Result<(), Mistake> {
        let word = tokens.get(at);
        match tokens.list.get(at).map(|t| t.kind) {
            Some(TokenKind::Word) => return self.word_as_value(tokens, at),
            Some(TokenKind::Number | TokenKind::Text) => self.want = Want::Operator,
            _ => match word {
                "!" | "-" => {}
                "(" => self.levels.push(Level::new(Bracket::Group, at)),
                "[" => self.levels.push(Level::new(Bracket::List, at)),
                ")" | "]" if at > 0 && self.empty_brackets(at) => return self.close(tokens, at),
                "." => {
                    return Err(Mistake::new(tokens.span(at), "a value is missing before `.`, write `0.5`, not `.5`"));
                }
                _ => return Err(Mistake::new(tokens.span(at), format!("a value is missing before `{word}`"))),
            },
        }
        Ok(())
    }

    fn empty_brackets(&self, at: usize) -> bool {
        self.levels.last().is_some_and(|l| l.open + 1 == at && matches!(l.bracket, Bracket::Call | Bracket::List))
    }

    fn word_as_value(&mut self, tokens: &Tokens<'_>, at: usize) -> Result<(), Mistake> {
        let word = tokens.get(at);
        let message = match word {
            "not" | "NOT" | "Not" => format!("`{word}` is not an operator, use `!`"),
            "and" | "or" | "in" | "is" | "AND" | "OR" => format!("a value is missing before `{word}`"),
            "null" | "None" | "nil" | "NULL" | "undefined" => {
                format!("`{word}` is not supported, ask with `has(...)` whether there is a value")
            }
            "True" | "TRUE" => "write `true`".into(),
            "False" | "FALSE" => "write `false`".into(),
            _ if tokens.get(at + 1) == "(" && METHODS.contains(&word) && word != "size" => {
                format!("`{word}` follows the value it is about, as in `p.name.{word}('x')`")
            }
            _ if tokens.get(at + 1) == "(" && !FUNCTIONS.contains(&word) => {
                format!("unknown function `{word}`{}", did_you_mean(word, FUNCTIONS.into_iter()))
            }
            _ => {
                self.want = Want::Operator;
                return Ok(());
            }
        };
        Err(Mistake::new(tokens.span(at), message))
    }

    fn operator(&mut self, tokens: &mut Tokens<'_>, at: usize) -> Result<(), Mistake> {
        let sign = tokens.get(at);
        if tokens.list.get(at).is_none_or(|t| t.kind != TokenKind::Sign) && sign != "in" {
            return Err(Mistake::new(tokens.span(at), missing_operator(sign)));
        }
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        match sign {
            ")" | "]" => return self.close(tokens, at),
            "." => self.want = Want::Field,
            "(" if tokens.list.get(at.wrapping_sub(1)).is_some_and(|t| t.kind == TokenKind::Word) => {
                self.levels.push(Level::new(Bracket::Call, at));
                self.want = Want::Value;
            }
            "(" | "!" => return Err(Mistake::new(tokens.span(at), missing_operator(sign))),
            "[" => {
                return Err(Mistake::new(
                    tokens.span(at),
                    "`[` cannot follow a value, single elements are not supported",
                ));
            }
            "<>" => return Err(Mistake::new(tokens.span(at), "`<>` is not an operator, use `!=`")),
            "," if level.bracket == Bracket::Group && level.open > 0 && tokens.get(level.open - 1) == "in" => {
                let from = tokens.span(level.open).end;
                let inside = tokens.text.get(from..).unwrap_or("").split(')').next().unwrap_or("").trim();
                let message = format!("a list stands in square brackets: `[{inside}]`");
                return Err(Mistake::new(tokens.span(level.open), message));
            }
            "," if !matches!(level.bracket, Bracket::Call | Bracket::List) => {
                return Err(Mistake::new(tokens.span(at), "`,` stands only in lists and calls"));
            }
            ":" if level.choices == 0 => return Err(Mistake::new(tokens.span(at), "`:` has no `?` before it")),
            "," | "?" | ":" if sign == "," && level.choices > 0 => {
                return Err(Mistake::new(tokens.span(at), "the choice before `,` has no `:`"));
            }
            _ => {
                match sign {
                    "?" => (level.choices, level.nested) = (level.choices + 1, level.nested + 1),
                    ":" => level.choices -= 1,
                    "&&" | "||" | "," => {}
                    _ => level.depth += 1,
                }
                if matches!(sign, "&&" | "||" | "," | "?" | ":") {
                    level.next_operand();
                }
                self.want = Want::Value;
            }
        }
        Ok(())
    }

    fn field(&mut self, tokens: &Tokens<'_>, at: usize) -> Result<(), Mistake> {
        let word = tokens.get(at);
        if tokens.list.get(at).is_none_or(|t| t.kind != TokenKind::Word) {
            return Err(Mistake::new(tokens.span(at), "a name is missing after `.`"));
        }
        let called = tokens.get(at + 1) == "(";
        if called && !METHODS.contains(&word) {
            return Err(Mistake::new(tokens.span(at), unknown_method(word)));
        }
        let plain_variable = !called && at >= 2 && !matches!(tokens.get(at - 2), ")" | "]");
        if let Some(level) = self.levels.last_mut()
            && !(plain_variable && tokens.get(at.wrapping_sub(3)) != ".")
        {
            level.depth += 1;
        }
        self.want = Want::Operator;
        Ok(())
    }

    fn close(&mut self, tokens: &mut Tokens<'_>, at: usize) -> Result<(), Mistake> {
        let sign = tokens.get(at);
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let wanted = match level.bracket {
            Bracket::None => return Err(Mistake::new(tokens.span(at), format!("`{sign}` closes nothing"))),
            Bracket::Group | Bracket::Call => ")",
            Bracket::List => "]",
        };
        if sign != wanted {
            return Err(Mistake::new(tokens.span(at), format!("`{wanted}` is missing before `{sign}`")));
        }
        if level.choices > 0 {
            return Err(Mistake::new(tokens.span(at), "a choice with `?` has no `:`"));
        }
        (tokens.partner[level.open], tokens.partner[at]) = (at, level.open);
        if let Some(parent) = self.levels.last_mut() {
            parent.depth = parent.depth.max(level.depth.max(level.deepest) + 1);
        }
        self.want = Want::Operator;
        Ok(())
    }

    fn finish(&self, tokens: &Tokens<'_>) -> Result<(), Mistake> {
        let end = tokens.text.len()..tokens.text.len();
        if tokens.list.is_empty() {
            return Err(Mistake::new(end, "the condition is empty"));
        }
        match self.want {
            Want::Value => return Err(Mistake::new(end, "the condition ends where a value is expected")),
            Want::Field => return Err(Mistake::new(end, "a name is missing after `.`")),
            Want::Operator => {}
        }
        match self.levels.last() {
            Some(level) if level.bracket != Bracket::None => {
                let sign = tokens.get(level.open);
                Err(Mistake::new(tokens.span(level.open), format!("`{sign}` is not closed")))
            }
            Some(level) if level.choices > 0 => Err(Mistake::new(end, "a choice with `?` has no `:`")),
            _ => Ok(()),
        }
    }
}

fn unknown_method(word: &str) -> String {
    match word {
        "map" => "`map` is not supported, use `exists`, `all`, or `size` of a `filter`".into(),
        "existsOne" => "write `exists_one`".into(),
        "length" | "len" | "count" => format!("unknown function `{word}`, use `size()`"),
        "includes" | "has" => format!("unknown function `{word}`, use `'x' in p.tags`, or `contains` for text"),
        _ => format!("unknown function `{word}`{}", did_you_mean(word, METHODS.into_iter())),
    }
}

fn missing_operator(word: &str) -> String {
    let operator = match word.to_ascii_lowercase().as_str() {
        "and" => "&&",
        "or" => "||",
        "is" | "equals" | "eq" => "==",
        "ne" => "!=",
        "lt" => "<",
        "le" | "lte" => "<=",
        "gt" => ">",
        "ge" | "gte" => ">=",
        "in" => "in",
        "mod" => "%",
        "not" => return format!("`{word}` is not an operator, use `!` before the value, as in `!(p.name in ['a'])`"),
        "contains" | "matches" | "startswith" | "endswith" | "like" => {
            let method = METHODS.iter().find(|method| method.eq_ignore_ascii_case(word)).unwrap_or(&"matches");
            return format!("`{word}` is not an operator, write it as `p.name.{method}('...')`");
        }
        _ => return format!("an operator such as `&&` is missing before `{word}`"),
    };
    format!("`{word}` is not an operator, use `{operator}`")
}
