//! "Did you mean": the known name nearest to an unknown one.

/// Longest name that is compared, characters.
const NAME_CHARS_MAX: usize = 64;

/// The known name within a third of the letters, the nearest first, then by
/// name; as the end of a message: `; did you mean `country`?`, or empty.
pub fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let budget = (unknown.chars().count() / 3).max(1);
    let nearest =
        known.into_iter().map(|name| (distance(unknown, name), name)).filter(|(distance, _)| *distance <= budget).min();
    nearest.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one
/// into the other (optimal string alignment distance).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > NAME_CHARS_MAX || b.len() > NAME_CHARS_MAX {
        return usize::MAX;
    }
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, wanted) in
            [("", "", 0), ("a", "", 1), ("offer", "offre", 1), ("chanel", "channel", 1), ("web", "email", 5)]
        {
            assert_eq!(distance(a, b), wanted, "{a} {b}");
            assert_eq!(distance(b, a), wanted, "{b} {a}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(did_you_mean("contry", ["country", "county"]), "; did you mean `country`?");
        assert_eq!(did_you_mean("zzz", ["country"]), "");
        assert_eq!(did_you_mean("ab", ["ac", "aa"]), "; did you mean `aa`?");
    }
}
