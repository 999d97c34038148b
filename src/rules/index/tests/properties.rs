//! The index against the slow reference, over rules and customers by chance.

use std::sync::Arc;

use super::world::{Author, Dice, NOW, Person, compile, schema};
use crate::{
    domain::{BLOCK_BITS, OfferSet, OfferSlot, Schema, Timestamp},
    rules::{
        Condition, Truth,
        condition::normal_reference::Question,
        index::{Index, IndexBuffers, Policy, Rule},
    },
};

const POLICIES: [Policy; 3] = [Policy::Eligibility, Policy::Applicability, Policy::Suitability];

/// Rules with the texts of their conditions.
struct Book {
    texts: Vec<[Option<usize>; 3]>,
    rules: Vec<Rule>,
}

/// A text with what was made of it.
struct Entry {
    text: String,
    question: Question,
    condition: Arc<Condition>,
}

fn library(dice: &mut Dice, schema: &Schema, size: usize, depth: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut refused = 0;
    while entries.len() < size {
        let text = Author(dice).condition(depth);
        match compile(&text, schema) {
            Some(condition) => entries.push(Entry { question: Question::of(&text), text, condition }),
            None => refused += 1,
        }
    }
    assert!(refused * 5 < size, "{refused} conditions have too many rows");
    entries
}

fn truths(library: &[Entry], person: &Person) -> Vec<Truth> {
    library.iter().map(|entry| person.reference(&entry.question)).collect()
}

impl Book {
    fn draw(dice: &mut Dice, library: &[Entry], offers: usize) -> Self {
        let moments = [NOW, NOW + 1, NOW - 1, NOW + 86_400_000_000, i64::MIN, i64::MAX, 0];
        let (mut texts, mut rules) = (Vec::new(), Vec::new());
        for _ in 0..offers {
            let picked = [7, 3, 2].map(|share| (dice.roll(8) < share).then(|| dice.roll(library.len())));
            let moment = |dice: &mut Dice| (dice.roll(3) == 0).then(|| Timestamp(dice.pick(&moments)));
            rules.push(Rule {
                schedule: (moment(dice), moment(dice)),
                conditions: picked.map(|at| Some(library[at?].condition.clone())),
            });
            texts.push(picked);
        }
        Self { texts, rules }
    }

    /// Compares everything that the index says about one person.
    fn check(
        &self,
        index: &Index,
        library: &[Entry],
        (person, truths): (&Person, &[Truth]),
        schema: &Schema,
        (dice, buffers): (&mut Dice, &mut IndexBuffers),
    ) -> usize {
        let mut held = 0;
        index.begin(buffers);
        let mut set = OfferSet::empty(self.rules.len());
        for policy in POLICIES {
            let share = dice.pick(&[1, 2, 30, 1_000]);
            let mut asked = OfferSet::all(self.rules.len());
            (0..self.rules.len()).for_each(|at| {
                if dice.roll(share) > 0 {
                    asked.remove(OfferSlot(at as u32));
                }
            });
            let mut looked_up = asked.clone();
            set.copy_from(&asked);
            person.facts(schema, |facts| {
                index.keep_true(policy, facts, buffers, &mut set);
                if !index.spaces[policy as usize].conditions.is_empty() {
                    index.look_up(policy, facts, buffers, &mut looked_up);
                }
            });
            assert_eq!(set, looked_up);
            for slot in (0..self.rules.len() as u32).map(OfferSlot) {
                let text = self.texts[slot.index()][policy as usize];
                let wanted = asked.contains(slot) && text.is_none_or(|at| truths[at] == Truth::True);
                let told = || text.map(|at| (&library[at].text, &person.values, person.now));
                assert_eq!(set.contains(slot), wanted, "{policy:?} of {slot:?}: {:?}", told());
            }
            held += set.len();
        }
        held
    }
}

#[test]
fn the_index_agrees_with_the_reference() {
    let schema = schema();
    let mut dice = Dice(2012);
    let mut buffers = IndexBuffers::default();
    let mut held = 0;
    for round in 0..9 {
        let library = library(&mut dice, &schema, 150, 1 + round % 3);
        let people: Vec<Person> = (0..10).map(|_| Person::draw(&mut dice)).collect();
        let answers: Vec<Vec<Truth>> = people.iter().map(|person| truths(&library, person)).collect();
        for offers in [dice.pick(&[0, 1, 2, 63]), dice.pick(&[200, 511, 512, 513]), 1_400] {
            let book = Book::draw(&mut dice, &library, offers);
            let index = Index::of(book.rules.clone());
            for (person, truths) in people.iter().zip(&answers) {
                held += book.check(&index, &library, (person, truths), &schema, (&mut dice, &mut buffers));
            }
        }
    }
    assert!(held > 20_000, "{held} held");
}

#[test]
fn many_rules_with_few_texts_use_every_kind_of_column() {
    let schema = schema();
    let mut dice = Dice(7);
    let mut buffers = IndexBuffers::default();
    let library = library(&mut dice, &schema, 500, 1);
    let book = Book::draw(&mut dice, &library, 9 * BLOCK_BITS + 5);
    let index = Index::of(book.rules.clone());
    for _ in 0..16 {
        let person = Person::draw(&mut dice);
        let answers = truths(&library, &person);
        book.check(&index, &library, (&person, &answers), &schema, (&mut dice, &mut buffers));
    }
}

#[test]
fn schedules_hold_from_their_first_moment_until_before_their_last() {
    let mut dice = Dice(3);
    for offers in [1, 40, 700, 5_000] {
        let moment = |dice: &mut Dice| (dice.roll(3) > 0).then(|| Timestamp(dice.roll(offers) as i64 * 2));
        let rules: Vec<Rule> =
            (0..offers).map(|_| Rule { schedule: (moment(&mut dice), moment(&mut dice)), ..Rule::default() }).collect();
        let index = Index::of(rules.clone());
        for _ in 0..200 {
            let now = Timestamp(dice.roll(2 * offers + 2) as i64 - 1);
            let mut set = OfferSet::all(offers);
            set.remove(OfferSlot(dice.roll(offers) as u32));
            let before = set.clone();
            index.keep_scheduled(now, &mut set);
            for (slot, rule) in (0..).map(OfferSlot).zip(&rules) {
                let (from, until) = rule.schedule;
                let runs = from.is_none_or(|from| from <= now) && until.is_none_or(|until| now < until);
                assert_eq!(set.contains(slot), runs && before.contains(slot), "{:?} at {now:?}", rule.schedule);
            }
        }
    }
}
