//! Ids of events that have none of their own, and lines put together to events.
//!
//! An id is made of what a row says, and of how many rows said the same before
//! it in the file. So a file that is corrected and imported again adds only what
//! was corrected.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    grpc::convert::event::ITEMS_MAX,
    proto::{CustomerEvent, Event, Money, event::Kind},
};

use super::{
    cell::Decimal,
    notes::Notes,
    repeats::Repeats,
    rows::{Entries, Line, Row},
};

/// Most lines of an event.
const LINES_MAX: usize = 10_000;

/// Rows with ids, lines put together.
pub struct Numbered<I> {
    rows: I,
    notes: Arc<Notes>,
    /// Whether ids are made of what rows say.
    makes_ids: bool,
    /// How often the same was said.
    seen: Repeats,
    /// The event that is not complete.
    open: Option<Open>,
    /// Rows since the last line of an event that may be lines of the next: what
    /// groups them, and why that is rejected.
    astray: VecDeque<(u128, Wrong)>,
    ready: VecDeque<Row>,
}

/// An event that is not complete.
struct Open {
    key: u128,
    /// What groups it whoever it is of.
    bill: Option<u128>,
    /// Its type, which a rejected line may not have.
    kind: Option<String>,
    /// How many said the same before, where its lines were rejected once.
    nth: Option<u32>,
    /// Its lines, and rows between them that are none.
    rows: Vec<Row>,
    /// A row that fits, and is no line.
    wrong: Option<Wrong>,
}

/// Why an event is rejected: for the row of this number, which has its own reason.
struct Wrong {
    row: u64,
    why: String,
}

impl<I: Iterator<Item = anyhow::Result<Row>>> Numbered<I> {
    /// Numbers rows.
    pub fn new(rows: I, notes: Arc<Notes>, makes_ids: bool) -> Self {
        let (astray, ready) = (VecDeque::new(), VecDeque::new());
        Self { rows, notes, makes_ids, seen: Repeats::default(), open: None, astray, ready }
    }

    fn take(&mut self, mut row: Row) -> anyhow::Result<()> {
        let (key, bill) = match row.line {
            Line::Of { key, bill } => (key, bill),
            Line::Alone => {
                self.name(&mut row)?;
                return self.keep_place(row);
            }
            Line::Nobodys { bill } | Line::Unreadable { bill } => {
                self.stray(&row, bill);
                return self.keep_place(row);
            }
        };
        let kind = row.entries.as_ref().ok().and_then(kind_of);
        let fits = |one: &Option<String>| kind.is_none() || one.is_none() || kind == *one;
        let goes_on = self.open.as_ref().is_some_and(|open| {
            let same = open.key == key && (open.nth.is_none() || row.nth.is_none() || open.nth == row.nth);
            same && fits(&open.kind) && open.rows.len() < LINES_MAX
        });
        if !goes_on {
            self.close()?;
        }
        let astray = std::mem::take(&mut self.astray);
        let open = self.open.get_or_insert_with(|| {
            // those before its first line that fit it
            let wrong = astray.into_iter().find(|(of, _)| Some(*of) == bill).map(|(_, wrong)| wrong);
            Open { key, bill, kind: None, nth: None, rows: Vec::new(), wrong }
        });
        open.kind = open.kind.take().or(kind);
        open.nth = open.nth.or(row.nth);
        open.rows.push(row);
        Ok(())
    }

    /// A row that is none of the lines stays in its place among them.
    fn keep_place(&mut self, row: Row) -> anyhow::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.rows.len() >= LINES_MAX) {
            self.close()?;
        }
        match &mut self.open {
            Some(open) => open.rows.push(row),
            None => self.ready.push_back(row),
        }
        Ok(())
    }

    /// Notes that a row may be a line of the event that is open, or of the next.
    fn stray(&mut self, row: &Row, bill: Option<u128>) {
        let Some(bill) = bill else { return };
        let wrong = || Wrong { row: row.number, why: row.entries.as_ref().err().cloned().unwrap_or_default() };
        if let Some(open) = self.open.as_mut().filter(|open| open.bill == Some(bill)) {
            open.wrong.get_or_insert_with(wrong);
        }
        if self.astray.len() >= LINES_MAX {
            self.astray.pop_front();
        }
        self.astray.push_back((bill, wrong()));
    }

    /// Gives the event of a row an id.
    fn name(&mut self, row: &mut Row) -> anyhow::Result<()> {
        let content = row.content;
        if let Ok(Entries { event: Some(event), .. }) = &mut row.entries
            && event.event_id.is_empty()
            && let Some(content) = content
        {
            event.event_id = format!("{content:032x}-{}", self.seen.say(content as u64)?);
        }
        Ok(())
    }

    /// Puts the lines together that are open. One that is wrong rejects all: an
    /// event must not lack a line.
    fn close(&mut self) -> anyhow::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let is_line = |row: &Row| matches!(row.line, Line::Of { .. });
        let id = self.id(&mut open)?;
        let last = open.rows.iter().rposition(is_line).unwrap_or_default();
        let mut between = open.rows.iter().take(last);
        let wrong = open.wrong.take().or_else(|| {
            let wrong = |row: &Row| Some(Wrong { row: row.number, why: row.entries.as_ref().err()?.clone() });
            let unreadable = between.find(|row| matches!(row.line, Line::Unreadable { .. })).and_then(wrong);
            unreadable.or_else(|| open.rows.iter().filter(|row| is_line(row)).find_map(wrong))
        });
        let wrong = match wrong {
            Some(Wrong { row, why }) => Some((row, format!("row {row} of the same event is rejected: {why}"))),
            None => self.join(&mut open.rows, id).err().map(|why| (0, why)),
        };
        if let Some((number, why)) = wrong {
            for row in open.rows.iter_mut().filter(|row| is_line(row) && row.number != number && row.entries.is_ok()) {
                row.entries = Err(why.clone());
            }
        }
        self.ready.extend(open.rows);
        Ok(())
    }

    /// The id of an event, where ids are made: of what groups it, whether it is
    /// rejected or not, so that one that is corrected does not take another's.
    fn id(&mut self, open: &mut Open) -> anyhow::Result<Option<String>> {
        if !self.makes_ids {
            return Ok(None);
        }
        let kind = open.kind.take().or_else(|| open.rows.iter().find_map(|row| row.kind.clone()));
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        hasher.update(&open.key.to_le_bytes());
        hasher.update(kind.unwrap_or_default().as_bytes());
        let key = hasher.digest128();
        let nth = match open.nth {
            Some(nth) => nth,
            None => {
                let nth = self.seen.say(key as u64)?;
                self.notes.split.fetch_add(u64::from(nth > 0), Relaxed);
                nth
            }
        };
        let last = open.rows.iter().rposition(|row| matches!(row.line, Line::Of { .. })).unwrap_or_default();
        for row in open.rows.iter_mut().take(last + 1).filter(|row| row.line != Line::Alone) {
            row.nth = Some(nth);
        }
        Ok(Some(format!("{key:032x}-{nth}")))
    }

    /// Makes one event of lines; it stands in the last of them, with what each
    /// says of the customer.
    ///
    /// # Errors
    /// Why it cannot be made.
    fn join(&self, rows: &mut [Row], id: Option<String>) -> Result<(), String> {
        let (mut whole, mut customers) = (None::<Box<Event>>, Vec::new());
        for row in rows.iter_mut().filter(|row| matches!(row.line, Line::Of { .. })) {
            let Ok(entries) = &mut row.entries else { continue };
            for customer in std::mem::take(&mut entries.customers) {
                if customers.last() != Some(&customer) {
                    customers.push(customer);
                }
            }
            entries.part = true;
            let Some(event) = entries.event.take() else { continue };
            match &mut whole {
                None => whole = Some(event),
                Some(whole) => self.add(whole, *event)?,
            }
        }
        let Some(mut event) = whole else { return Ok(()) };
        if let Some(id) = id {
            event.event_id = id;
        }
        let last = rows.iter_mut().rev().find(|row| matches!(row.line, Line::Of { .. }));
        if let Some(Row { entries: Ok(entries), .. }) = last {
            *entries = Entries { event: Some(event), customers, part: false };
        }
        Ok(())
    }

    /// Adds a line to an event.
    fn add(&self, whole: &mut Event, line: Event) -> Result<(), String> {
        let (Some(Kind::Customer(whole)), Some(Kind::Customer(line))) = (&mut whole.kind, line.kind) else {
            return Ok(());
        };
        let CustomerEvent { amount, items, data, .. } = line;
        add_amount(&mut whole.amount, amount)?;
        for item in items {
            if whole.items.len() < ITEMS_MAX {
                whole.items.push(item);
            } else {
                self.notes.itemless.fetch_add(1, Relaxed);
            }
        }
        // what the lines say beside is said by the first that says it
        if let Some(data) = data {
            let fields = &mut whole.data.get_or_insert_default().fields;
            data.fields.into_iter().for_each(|(name, value)| {
                fields.entry(name).or_insert(value);
            });
        }
        Ok(())
    }
}

fn add_amount(sum: &mut Option<Money>, more: Option<Money>) -> Result<(), String> {
    let (Some(sum), Some(more)) = (sum, more) else { return Ok(()) };
    let places = sum.amount.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let (one, other) = (Decimal::parse(&sum.amount), Decimal::parse(&more.amount));
    let total = one.zip(other).and_then(|(one, other)| one.plus(other));
    let total = total.ok_or("the amounts of its lines are too large together")?;
    sum.amount = total.rounded(u32::try_from(places).unwrap_or(0));
    Ok(())
}

fn kind_of(entries: &Entries) -> Option<String> {
    match &entries.event.as_ref()?.kind {
        Some(Kind::Customer(customer)) => Some(customer.r#type.clone()),
        _ => None,
    }
}

impl<I: Iterator<Item = anyhow::Result<Row>>> Iterator for Numbered<I> {
    type Item = anyhow::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                return Some(Ok(row));
            }
            let taken = match self.rows.next() {
                Some(Ok(row)) => self.take(row),
                Some(Err(error)) => return Some(Err(error)),
                None if self.open.is_none() => return None,
                None => self.close(),
            };
            if let Err(error) = taken {
                return Some(Err(error));
            }
        }
    }
}
