//! The syntax tree: what the CEL parser read, each part with its place.

use std::{ops::Range, panic::AssertUnwindSafe};

use cel::{
    common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators},
    parser::Parser,
};

use super::{
    order,
    scan::{Mistake, Tokens},
};

/// A part of a condition.
#[derive(Debug)]
pub(super) struct Syntax {
    pub kind: Kind,
    /// Its bytes in the text, without brackets around it.
    pub span: Range<usize>,
    /// Its first and last token.
    tokens: (usize, usize),
}

impl Syntax {
    /// Whether it is this bare name.
    pub fn is_name(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Name(found) if found == name)
    }
}

/// What a part is.
#[derive(Debug)]
pub(super) enum Kind {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Name(String),
    Field(Box<Syntax>, String),
    Has(Box<Syntax>, String),
    Call { name: String, target: Option<Box<Syntax>>, args: Vec<Syntax> },
    Not(Box<Syntax>),
    Negate(Box<Syntax>),
    All(Vec<Syntax>),
    Any(Vec<Syntax>),
    Choice(Box<[Syntax; 3]>),
    Binary(Operator, Box<[Syntax; 2]>),
    List(Vec<Syntax>),
    Walk(Box<Walk>),
}

/// A test of the elements of a list or set, one after the other.
#[derive(Debug)]
pub(super) struct Walk {
    pub ask: Ask,
    pub range: Syntax,
    /// What the test calls an element.
    pub variable: String,
    /// Where that name stands.
    pub variable_span: Range<usize>,
    pub test: Syntax,
}

/// What is asked of the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Exists,
    All,
    ExistsOne,
    Filter,
}

impl Ask {
    /// Its name in the text.
    pub fn name(self) -> &'static str {
        match self {
            Ask::Exists => "exists",
            Ask::All => "all",
            Ask::ExistsOne => "exists_one",
            Ask::Filter => "filter",
        }
    }
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Compare(Comparison),
    Arithmetic(Arithmetic),
    In,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Parses a condition; answers its depth too. Bounded in size and depth before
/// the parser sees it.
pub(super) fn parse(text: &str) -> Result<(Syntax, usize), Mistake> {
    let mut tokens = Tokens::scan(text)?;
    let depth = order::check(&mut tokens)?;
    if depth <= DEPTH_INLINE_MAX {
        return Ok((parse_tokens(&tokens)?, depth));
    }
    let whole = tokens.span(0).start..text.len();
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES);
        match parser.spawn_scoped(scope, || parse_tokens(&tokens)).map(|running| running.join()) {
            Ok(Ok(parsed)) => Ok((parsed?, depth)),
            Ok(Err(_)) => Err(Mistake::new(whole, "this is not a condition")),
            Err(_) => Err(Mistake::new(whole, "this deep condition could not be parsed for want of memory")),
        }
    })
}

/// Deeper text is parsed on a stack of its own: the generated parser takes a
/// dozen frames, and in debug builds over 100 KB, for each pair of brackets.
const DEPTH_INLINE_MAX: usize = 6;
/// The stack of the parser for deep text, bytes.
const PARSER_STACK_BYTES: usize = 64 * 1024 * 1024;

fn parse_tokens(tokens: &Tokens<'_>) -> Result<Syntax, Mistake> {
    let text = tokens.text;
    // The generated parser may panic on text nobody thought of; that is a
    // mistake in the text, not the end of the process.
    let parsed = std::panic::catch_unwind(AssertUnwindSafe(|| Parser::new().parse_with_source_info(text)));
    let whole = || tokens.span(0).start..text.len();
    match parsed {
        Ok(Ok((tree, places))) => Reader { tokens, places: &places }.read(tree),
        Ok(Err(errors)) => Err(errors.errors.first().map_or_else(
            || Mistake::new(whole(), "this is not a condition"),
            |e| parser_mistake(tokens, e.pos, &e.msg),
        )),
        Err(_) => Err(Mistake::new(whole(), "this is not a condition")),
    }
}

/// Says what the parser's message means without its token names.
fn parser_mistake(tokens: &Tokens<'_>, (line, column): (isize, isize), message: &str) -> Mistake {
    let lines_before: usize = tokens.text.split_inclusive('\n').take((line.max(1) - 1) as usize).map(str::len).sum();
    let offset = lines_before + (column.max(1) - 1) as usize;
    let at = tokens.list.iter().position(|t| t.span.end > offset).unwrap_or(tokens.list.len());
    let told = if message.contains("has()") {
        "`has` asks about one attribute, as in `has(p.country)`".into()
    } else if message.contains("must be a simple name") {
        "a name for the element stands here, as in `p.tags.exists(t, t == 'x')`".into()
    } else if let Some(word) = message.strip_prefix("reserved identifier: ") {
        format!("`{word}` is a reserved word")
    } else if message.contains("int literal") {
        "this whole number does not fit into 64 bits".into()
    } else if message.contains("double literal") {
        "this number is not finite".into()
    } else if message.contains("string literal") {
        "an escape in this text is not valid".into()
    } else {
        match tokens.get(at) {
            "" => "the condition ends where more is expected".into(),
            near => format!("`{near}` cannot stand here"),
        }
    };
    Mistake::new(tokens.span(at), told)
}

struct Reader<'a> {
    tokens: &'a Tokens<'a>,
    places: &'a SourceInfo,
}

impl Reader<'_> {
    fn read(&self, node: IdedExpr) -> Result<Syntax, Mistake> {
        let offset = self.places.offset_for(node.id).map_or(0, |(start, _)| start as usize);
        let at = self.tokens.starting_at(offset).unwrap_or(0);
        match node.expr {
            Expr::Literal(literal) => self.literal(literal, at),
            Expr::Ident(name) => Ok(self.syntax(Kind::Name(name), at, at)),
            Expr::Select(select) if select.test => {
                let operand = Box::new(self.read(*select.operand)?);
                Ok(self.syntax(Kind::Has(operand, select.field), at.saturating_sub(1), self.tokens.partner[at]))
            }
            Expr::Select(select) => {
                let operand = Box::new(self.read(*select.operand)?);
                let first = operand.tokens.0;
                Ok(self.syntax(Kind::Field(operand, select.field), first, at + 1))
            }
            Expr::List(list) => {
                let items = list.elements.into_iter().map(|e| self.read(e)).collect::<Result<_, _>>()?;
                Ok(self.syntax(Kind::List(items), at, self.tokens.partner[at]))
            }
            Expr::Call(call) => self.call(call, at),
            Expr::Comprehension(walk) => self.walk(*walk, at),
            _ => Err(Mistake::new(self.tokens.span(at), "this is not supported in conditions")),
        }
    }

    /// Reads the loop that the parser makes of `range.exists(name, test)` back.
    fn walk(&self, walk: ComprehensionExpr, at: usize) -> Result<Syntax, Mistake> {
        let Expr::Call(step) = walk.loop_step.expr else { return Err(self.strange(at)) };
        let counts = matches!(walk.result.expr, Expr::Call(_));
        let mut args = step.args.into_iter();
        let (ask, test) = match step.func_name.as_str() {
            operators::LOGICAL_OR => (Ask::Exists, args.nth(1)),
            operators::LOGICAL_AND => (Ask::All, args.nth(1)),
            operators::CONDITIONAL if counts => (Ask::ExistsOne, args.next()),
            operators::CONDITIONAL => (Ask::Filter, args.next()),
            _ => return Err(self.strange(at)),
        };
        let Some(test) = test else { return Err(self.strange(at)) };
        let (range, test) = (self.read(walk.iter_range)?, self.read(test)?);
        let first = range.tokens.0;
        let variable_span = self.tokens.span(at + 1);
        let walk = Walk { ask, range, variable: walk.iter_var, variable_span, test };
        Ok(self.syntax(Kind::Walk(Box::new(walk)), first, self.tokens.partner[at]))
    }

    fn literal(&self, literal: LiteralValue, at: usize) -> Result<Syntax, Mistake> {
        let kind = match literal {
            LiteralValue::Boolean(v) => Kind::Bool(*v.inner()),
            LiteralValue::Int(v) => Kind::Int(*v.inner()),
            LiteralValue::Double(v) => Kind::Double(*v.inner()),
            LiteralValue::String(v) => Kind::Text(v.inner().to_owned()),
            _ => return Err(Mistake::new(self.tokens.span(at), "this kind of literal is not supported")),
        };
        // The parser takes the sign into a negative literal but not its place.
        let signed = matches!(kind, Kind::Int(v) if v < 0) || matches!(kind, Kind::Double(v) if v.is_sign_negative());
        let first = if signed && at > 0 && self.tokens.get(at - 1) == "-" { at - 1 } else { at };
        let last = if self.tokens.get(at) == "-" { at + 1 } else { at };
        Ok(self.syntax(kind, first, last))
    }

    fn call(&self, call: CallExpr, at: usize) -> Result<Syntax, Mistake> {
        let target = call.target.map(|t| self.read(*t)).transpose()?.map(Box::new);
        let mut args = call.args.into_iter().map(|a| self.read(a)).collect::<Result<Vec<_>, _>>()?;
        if let Some(operator) = binary(&call.func_name) {
            let two: Result<[Syntax; 2], _> = args.try_into();
            let Ok(two) = two else { return Err(self.strange(at)) };
            let (first, last) = (two[0].tokens.0, two[1].tokens.1);
            return Ok(self.syntax(Kind::Binary(operator, Box::new(two)), first, last));
        }
        let first = args.first().map_or(at, |a| a.tokens.0);
        let last = args.last().map_or(at, |a| a.tokens.1);
        match call.func_name.as_str() {
            operators::LOGICAL_AND => Ok(self.syntax(Kind::All(flatten(args, Kind::into_all)), first, last)),
            operators::LOGICAL_OR => Ok(self.syntax(Kind::Any(flatten(args, Kind::into_any)), first, last)),
            operators::CONDITIONAL => match args.try_into() {
                Ok(three) => Ok(self.syntax(Kind::Choice(Box::new(three)), first, last)),
                Err(_) => Err(self.strange(at)),
            },
            name @ (operators::LOGICAL_NOT | operators::NEGATE) => {
                let Some(arg) = args.pop() else { return Err(self.strange(at)) };
                let wrap = if name == operators::NEGATE { Kind::Negate } else { Kind::Not };
                Ok(self.syntax(wrap(Box::new(arg)), at, last))
            }
            name if order::FUNCTIONS.contains(&name) || order::METHODS.contains(&name) => {
                let first = target.as_ref().map_or(at.saturating_sub(1), |t| t.tokens.0);
                let name = name.to_owned();
                Ok(self.syntax(Kind::Call { name, target, args }, first, self.tokens.partner[at]))
            }
            _ => Err(self.strange(at)),
        }
    }

    fn strange(&self, at: usize) -> Mistake {
        Mistake::new(self.tokens.span(at), "this is not supported in conditions")
    }

    /// A part from its first to its last token, widened to whole brackets.
    fn syntax(&self, kind: Kind, mut first: usize, mut last: usize) -> Syntax {
        let mut at = first;
        while at <= last {
            let partner = self.tokens.partner.get(at).copied().unwrap_or(at);
            (first, last) = (first.min(partner), last.max(partner));
            at += 1;
        }
        let span = self.tokens.span(first).start..self.tokens.span(last).end;
        Syntax { kind, span, tokens: (first, last) }
    }
}

impl Kind {
    fn into_all(self) -> Result<Vec<Syntax>, Kind> {
        if let Kind::All(parts) = self { Ok(parts) } else { Err(self) }
    }

    fn into_any(self) -> Result<Vec<Syntax>, Kind> {
        if let Kind::Any(parts) = self { Ok(parts) } else { Err(self) }
    }
}

/// The parser balances chains into trees; read them as the chains they are.
fn flatten(args: Vec<Syntax>, parts_of: fn(Kind) -> Result<Vec<Syntax>, Kind>) -> Vec<Syntax> {
    let mut flat = Vec::with_capacity(args.len());
    for arg in args {
        match parts_of(arg.kind) {
            Ok(parts) => flat.extend(parts),
            Err(kind) => flat.push(Syntax { kind, ..arg }),
        }
    }
    flat
}

fn binary(name: &str) -> Option<Operator> {
    use Operator::{Arithmetic as Math, Compare, In};
    Some(match name {
        operators::EQUALS => Compare(Comparison::Equal),
        operators::NOT_EQUALS => Compare(Comparison::NotEqual),
        operators::LESS => Compare(Comparison::Less),
        operators::LESS_EQUALS => Compare(Comparison::LessOrEqual),
        operators::GREATER => Compare(Comparison::Greater),
        operators::GREATER_EQUALS => Compare(Comparison::GreaterOrEqual),
        operators::ADD => Math(Arithmetic::Add),
        operators::SUBSTRACT => Math(Arithmetic::Subtract),
        operators::MULTIPLY => Math(Arithmetic::Multiply),
        operators::DIVIDE => Math(Arithmetic::Divide),
        operators::MODULO => Math(Arithmetic::Remainder),
        operators::IN => In,
        _ => return None,
    })
}
