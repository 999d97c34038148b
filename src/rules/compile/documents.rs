//! The rule files as trees, their offers one by one.

use std::{collections::HashMap, sync::Arc};

use crate::rules::{
    RuleError, SourceFile,
    report::{Noun, Part, Report},
    source::{self, Kind, Mark, NODES_MAX, Node},
};

use super::{
    cache::{KnownOffer, KnownOffers},
    cut::{Cut, Piece, cut},
    fingerprint::of_piece,
};

/// A file without its offers, from one compilation to the next.
#[derive(Debug)]
pub struct KnownRest {
    tree: Arc<Node>,
    file: u32,
    count: usize,
    /// The compilation that used it last.
    last: u64,
}

/// Files without their offers, by the hash of their text.
pub type KnownRests = HashMap<u128, KnownRest>;

/// What the files hold.
#[derive(Debug, Default)]
pub struct Documents<'f> {
    /// The trees of the files, without the offers that stand alone.
    pub trees: Vec<Arc<Node>>,
    /// Offers that stand alone, by file and line.
    pub offers: Vec<OfferPiece<'f>>,
}

/// One offer that stands alone.
#[derive(Debug)]
pub struct OfferPiece<'f> {
    /// Index of its file.
    pub file: u32,
    /// Its lines.
    pub piece: Piece<'f>,
    /// The hash of its path and text.
    pub key: u128,
    /// What is known of it.
    pub state: PieceState,
}

/// What is known of an offer.
#[derive(Debug)]
pub enum PieceState {
    /// It was compiled before, perhaps against something else.
    Known(Arc<KnownOffer>),
    /// Its tree, and how many values and keys it has.
    Read(Node, usize),
}

impl OfferPiece<'_> {
    /// Its tree.
    pub fn read(&self) -> Option<(Node, usize)> {
        source::parse_item(self.file, self.piece.text, self.piece.first_line)
    }

    /// Its lines, for reports.
    pub fn part(&self) -> Part {
        let Piece { text, first_line, lines } = self.piece;
        Part { file: self.file, first_line, lines, source: text.into() }
    }
}

impl<'f> Documents<'f> {
    /// Reads the files; those that are no YAML are noted.
    pub fn read(
        report: &mut Report<'_>,
        files: &'f [SourceFile],
        (known, rests, round): (&KnownOffers, &mut KnownRests, u64),
    ) -> Self {
        let mut documents = Self::default();
        for (at, file) in files.iter().enumerate() {
            if at > 0 && files[at - 1].path == file.path {
                report.error(Mark { file: at as u32, line: 1, column: 1 }, "the file is given twice");
                continue;
            }
            if documents.read_cut(at as u32, file, (known, rests, round)).is_some() {
                continue;
            }
            match source::parse(at as u32, file) {
                Ok(tree) => documents.trees.push(Arc::new(tree)),
                Err(error) => lost(report, error),
            }
        }
        documents
    }

    /// Reads a file offer by offer; `None`, and nothing read, when it must be
    /// read as a whole.
    fn read_cut(
        &mut self,
        file: u32,
        source: &'f SourceFile,
        (known, rests, round): (&KnownOffers, &mut KnownRests, u64),
    ) -> Option<()> {
        if source.text.len() > source::FILE_BYTES_MAX {
            return None;
        }
        let Cut { rest, key_line, pieces } = cut(&source.text)?;
        let (tree, mut count) = read_rest(file, &rest, (rests, round))?;
        let mark = Mark { file, line: key_line, column: 1 };
        let Kind::Map(entries) = &tree.kind else { return None };
        let stands =
            |(key, value): &(source::Key, Node)| key.mark == mark && &*key.text == "offers" && value.kind == Kind::Null;
        if !entries.iter().any(stands) {
            return None;
        }
        let mut offers = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let key = of_piece(&source.path, piece.text);
            let (state, nodes) = match known.get(key) {
                Some(offer) => (PieceState::Known(offer.clone()), offer.count),
                None => {
                    let (node, nodes) = source::parse_item(file, piece.text, piece.first_line)?;
                    (PieceState::Read(node, nodes), nodes)
                }
            };
            count += nodes;
            offers.push(OfferPiece { file, piece, key, state });
        }
        // Near the limit the parser counts for itself.
        if count > NODES_MAX / 2 {
            return None;
        }
        self.trees.push(tree);
        self.offers.extend(offers);
        Some(())
    }
}

/// The tree of a file without its offers: files of nothing but offers are alike.
fn read_rest(file: u32, text: &str, (rests, round): (&mut KnownRests, u64)) -> Option<(Arc<Node>, usize)> {
    let key = xxhash_rust::xxh3::xxh3_128(text.as_bytes());
    if let Some(known) = rests.get_mut(&key) {
        known.last = round;
        if known.file == file {
            return Some((known.tree.clone(), known.count));
        }
        let mut tree = (*known.tree).clone();
        source::place(&mut tree, (file, 0));
        return Some((Arc::new(tree), known.count));
    }
    let (tree, count) = source::parse_rest(file, text)?;
    let tree = Arc::new(tree);
    rests.insert(key, KnownRest { tree: tree.clone(), file, count, last: round });
    Some((tree, count))
}

/// Forgets what neither this compilation nor the one before used.
pub fn forget_rests(rests: &mut KnownRests, round: u64) {
    rests.retain(|_, rest| rest.last + 1 >= round);
}

/// Notes a file that cannot be read.
pub fn lost(report: &mut Report<'_>, error: RuleError) {
    report.extend(vec![error]);
    // What seems unknown may stand in this file.
    Noun::ALL.into_iter().for_each(|noun| report.lose(noun));
}

/// The tree of a file with its offers read one by one; `None` when it is not cut.
#[cfg(test)]
pub fn offers_alone(source: &SourceFile) -> Option<Node> {
    let mut documents = Documents::default();
    documents.read_cut(0, source, (&KnownOffers::default(), &mut KnownRests::default(), 1))?;
    let mut tree = (**documents.trees.first()?).clone();
    let items: Vec<Node> = documents.offers.iter().filter_map(|offer| Some(offer.read()?.0)).collect();
    if let Kind::Map(entries) = &mut tree.kind {
        for (key, value) in entries.iter_mut().filter(|(key, value)| &*key.text == "offers" && value.kind == Kind::Null)
        {
            *value = Node { mark: key.mark, kind: Kind::List(items.clone()) };
        }
    }
    Some(tree)
}

/// The tree of a file read as a whole; the list of offers counts as beginning
/// at its key.
#[cfg(test)]
pub fn whole_tree(source: &SourceFile) -> Option<Node> {
    let mut tree = source::parse(0, source).ok()?;
    if let Kind::Map(entries) = &mut tree.kind {
        for (key, value) in entries.iter_mut().filter(|(key, _)| &*key.text == "offers") {
            value.mark = key.mark;
        }
    }
    Some(tree)
}
