//! Conditions by chance, with every connective, to compare answers on.

use rapport::domain::Schema;

use crate::{
    book::{Dialect, Part, Shape, compile},
    generator::SplitMix64,
};

enum Logic {
    Leaf(Part),
    All(Vec<Logic>),
    Any(Vec<Logic>),
    Not(Box<Logic>),
    Choice(Box<[Logic; 3]>),
}

impl Logic {
    fn draw(rng: &mut SplitMix64, attributes: &[(String, Shape)], depth: u64) -> Self {
        if depth == 0 {
            return Logic::Leaf(leaf(rng, attributes));
        }
        let parts =
            |rng: &mut SplitMix64| (0..2 + rng.below(2)).map(|_| Self::draw(rng, attributes, depth - 1)).collect();
        match rng.below(8) {
            0..=2 => Logic::All(parts(rng)),
            3 | 4 => Logic::Any(parts(rng)),
            5 => Logic::Not(Box::new(Self::draw(rng, attributes, depth - 1))),
            6 => Logic::Choice(Box::new([(); 3].map(|()| Self::draw(rng, attributes, depth - 1)))),
            _ => Logic::Leaf(leaf(rng, attributes)),
        }
    }

    fn print(&self, attributes: &[(String, Shape)], dialect: Dialect) -> String {
        let joined = |parts: &[Logic], by: &str| {
            let parts: Vec<String> = parts.iter().map(|part| part.print(attributes, dialect)).collect();
            format!("({})", parts.join(by))
        };
        match self {
            Logic::Leaf(part) => part.print(attributes, dialect),
            Logic::All(parts) => joined(parts, " && "),
            Logic::Any(parts) => joined(parts, " || "),
            Logic::Not(part) => format!("!({})", part.print(attributes, dialect)),
            Logic::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                let print = |part: &Logic| part.print(attributes, dialect);
                format!("({} ? {} : {})", print(condition), print(yes), print(no))
            }
        }
    }
}

fn leaf(rng: &mut SplitMix64, attributes: &[(String, Shape)]) -> Part {
    let at = rng.below(attributes.len() as u64) as usize;
    let yes = rng.below(2) == 0;
    // an absent set is empty: `has` says no, where the interpreter's empty list is there
    if rng.below(8) == 0 && !matches!(attributes[at].1, Shape::Set(_)) {
        return Part::Known(at);
    }
    match attributes[at].1 {
        Shape::Int(range) | Shape::Double(range) | Shape::Money(range) => Part::Number(at, yes, rng.below(range)),
        Shape::Text(pool) => Part::Texts(at, yes, (0..1 + rng.below(3)).map(|_| rng.below(pool)).collect()),
        Shape::Bool => Part::Flag(at, yes),
        Shape::Set(pool) => Part::Member(at, yes, rng.below(pool)),
        Shape::Time(hours) => Part::Within(at, yes, rng.below(hours)),
    }
}

/// A condition in our words and in the interpreter's. What has too many
/// alternatives for the normal form is drawn again.
pub fn condition(
    rng: &mut SplitMix64,
    attributes: &[(String, Shape)],
    schema: &Schema,
) -> anyhow::Result<(rapport::rules::Condition, String)> {
    loop {
        let depth = 1 + rng.below(3);
        let logic = Logic::draw(rng, attributes, depth);
        match compile(&logic.print(attributes, Dialect::Rapport), schema) {
            Ok(condition) => return Ok((condition, logic.print(attributes, Dialect::Cel))),
            Err(message) if message.contains("alternatives") => {}
            Err(message) => anyhow::bail!(message),
        }
    }
}
