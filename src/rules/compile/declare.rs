//! What the files declare: every top-level list over all files, each id once,
//! sorted by id, so that the order of files never matters.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

use crate::rules::{
    keys::{ROOT, Section},
    read::Fields,
    report::{Noun, Report},
    source::{Kind, Mark, Node},
};

/// One declaration with an id.
#[derive(Debug)]
pub struct Declared<'n> {
    /// Its id.
    pub id: Arc<str>,
    /// Where it begins.
    pub mark: Mark,
    /// Where its id stands.
    pub id_mark: Mark,
    /// Its keys.
    pub fields: Fields<'n>,
}

/// The values of the top-level keys, over all files.
#[derive(Debug, Default)]
pub struct TopLevel<'n> {
    nodes: BTreeMap<&'static str, Vec<&'n Node>>,
}

impl<'n> TopLevel<'n> {
    /// Gathers the files' trees, in order of their paths.
    pub fn gather(report: &mut Report<'_>, trees: impl IntoIterator<Item = &'n Node>) -> Self {
        let mut top = Self::default();
        for tree in trees {
            if tree.kind == Kind::Null {
                continue;
            }
            let before = report.count();
            let fields = report.fields(tree, &ROOT);
            if report.count() > before {
                // What seems unknown may stand under the key that is wrong.
                Noun::ALL.into_iter().for_each(|noun| report.lose(noun));
            }
            let Some(fields) = fields else { continue };
            for name in ROOT.names() {
                if let Some(node) = fields.get(name) {
                    top.nodes.entry(name).or_default().push(node);
                }
            }
        }
        top
    }

    /// Whether any file has the key.
    pub fn has(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// The one map of a key that may stand once.
    pub fn single(&self, report: &mut Report<'_>, name: &'static str) -> Option<&'n Node> {
        let nodes = self.nodes.get(name)?;
        let (first, others) = nodes.split_first()?;
        for other in others {
            let place = report.position(first.mark);
            report.error(other.mark, format!("`{name}` may stand once over all files: it is already at {place}"));
        }
        Some(first)
    }

    /// The values of a list, over all files.
    pub fn list(&self, report: &mut Report<'_>, name: &'static str, noun: Option<Noun>) -> Vec<&'n Node> {
        let mut all = Vec::new();
        for node in self.nodes.get(name).into_iter().flatten() {
            match report.list(node) {
                Some(nodes) => all.extend(nodes),
                None => noun.into_iter().for_each(|noun| report.lose(noun)),
            }
        }
        all
    }

    /// The ids that a list declares, whatever else is wrong with it; sorted.
    pub fn ids(&self, name: &str) -> Vec<Arc<str>> {
        let lists = self.nodes.get(name).into_iter().flatten();
        let mut ids: Vec<Arc<str>> = lists.flat_map(|node| ids_of(node)).collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// The declarations of a list, each id once, sorted by id.
    pub fn declared(
        &self,
        report: &mut Report<'_>,
        name: &'static str,
        section: &'static Section,
        noun: Noun,
    ) -> Vec<Declared<'n>> {
        let nodes = self.list(report, name, Some(noun));
        declared(report, nodes, section, noun)
    }
}

fn ids_of(node: &Node) -> impl Iterator<Item = Arc<str>> {
    let entries = match &node.kind {
        Kind::List(nodes) => &nodes[..],
        _ => &[],
    };
    entries.iter().filter_map(|node| {
        let Kind::Map(keys) = &node.kind else { return None };
        let (_, id) = keys.iter().find(|(key, _)| &*key.text == "id")?;
        if let Kind::Text(id) = &id.kind { Some(id.clone()) } else { None }
    })
}

/// Reads declarations: each id once, sorted by id.
pub fn declared<'n>(
    report: &mut Report<'_>,
    nodes: impl IntoIterator<Item = &'n Node>,
    section: &'static Section,
    noun: Noun,
) -> Vec<Declared<'n>> {
    let mut all: Vec<Declared<'n>> = Vec::new();
    all.extend(nodes.into_iter().filter_map(|node| declaration(report, node, section, noun)));
    each_once(report, &mut all, noun, |declared| (&declared.id, declared.id_mark));
    all
}

/// Reads one declaration.
pub fn declaration<'n>(
    report: &mut Report<'_>,
    node: &'n Node,
    section: &'static Section,
    noun: Noun,
) -> Option<Declared<'n>> {
    let declared = report.fields(node, section).and_then(|fields| {
        let (id, id_mark) = fields.get("id").and_then(|node| Some((report.id(node)?, node.mark)))?;
        Some(Declared { id, mark: node.mark, id_mark, fields })
    });
    if declared.is_none() {
        report.lose(noun);
    }
    declared
}

/// Sorts declarations by id and keeps the first of each, by path and line.
pub fn each_once<T>(report: &mut Report<'_>, all: &mut Vec<T>, noun: Noun, id_of: impl Fn(&T) -> (&Arc<str>, Mark)) {
    // The sort is stable: of equal ids the first by path and line stays first.
    all.sort_by(|a, b| id_of(a).0.cmp(id_of(b).0));
    let mut first: Option<(Arc<str>, Mark)> = None;
    all.retain(|declared| {
        let (id, mark) = id_of(declared);
        if let Some((known, at)) = &first
            && known == id
        {
            let (noun, place) = (noun.name(), report.position(*at));
            report.error(mark, format!("the {noun} `{id}` is declared twice: first at {place}"));
            return false;
        }
        first = Some((id.clone(), mark));
        true
    });
}

/// Notes two names that are the same at rest.
pub fn check_hashes<K: Eq + Hash>(
    report: &mut Report<'_>,
    noun: Noun,
    names: impl IntoIterator<Item = (K, Arc<str>, Mark)>,
) {
    let mut seen: HashMap<K, Arc<str>> = HashMap::new();
    for (hash, name, mark) in names {
        match seen.get(&hash) {
            Some(other) => {
                let noun = noun.name();
                let message = format!("the {noun} ids `{name}` and `{other}` are the same at rest: rename one of them");
                report.error(mark, message);
            }
            None => {
                seen.insert(hash, name);
            }
        }
    }
}

/// Names of one noun and what they stand for.
#[derive(Debug)]
pub struct Names<T> {
    noun: Noun,
    known: BTreeMap<Arc<str>, T>,
}

impl<T: Copy> Names<T> {
    /// The names of a noun.
    pub fn new(noun: Noun, known: impl IntoIterator<Item = (Arc<str>, T)>) -> Self {
        Self { noun, known: known.into_iter().collect() }
    }

    /// What a name stands for, silently.
    pub fn find(&self, name: &str) -> Option<T> {
        self.known.get(name).copied()
    }

    /// What a name in a value stands for; notes an unknown one.
    pub fn read(&self, report: &mut Report<'_>, node: &Node) -> Option<T> {
        let name = report.text(node)?;
        self.resolve(report, node.mark, name)
    }

    /// What a name stands for; notes an unknown one, unless a declaration of
    /// the noun could not be read.
    pub fn resolve(&self, report: &mut Report<'_>, mark: Mark, name: &str) -> Option<T> {
        let found = self.find(name);
        if found.is_none() && report.knows_all(self.noun) {
            let hint = report.did_you_mean(name, self.known.keys().map(|known| &**known));
            let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
            report.error(mark, format!("unknown {} `{shown}`{hint}", self.noun.name()));
        }
        found
    }
}
