//! "Did you mean": the known name nearest to an unknown one.

/// Longest name that is compared, characters.
const NAME_CHARS_MAX: usize = 96;

/// The known name within a third of the letters, the nearest first, then by
/// name; as the end of a message: `; did you mean `country`?`, or empty.
pub fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(unknown, known, (unknown.chars().count() / 3).max(1))
}

/// The known name within so many edits, as [`did_you_mean`] tells it.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>, edits_max: usize) -> String {
    let unknown: Vec<char> = unknown.chars().take(NAME_CHARS_MAX + 1).collect();
    let near = |name: &'a str| Some((distance(&unknown, name, edits_max)?, name));
    let nearest = known.into_iter().filter_map(near).min();
    nearest.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one
/// into the other (optimal string alignment distance); `None` when they are
/// more than `most`, which is found out soon.
fn distance(a: &[char], b: &str, most: usize) -> Option<usize> {
    // a character has at most 4 bytes
    if a.len() > NAME_CHARS_MAX || b.len() > 4 * NAME_CHARS_MAX || b.len() + most < a.len() {
        return None;
    }
    let b: Vec<char> = b.chars().collect();
    if b.len() > NAME_CHARS_MAX || a.len().abs_diff(b.len()) > most {
        return None;
    }
    // Names of one family begin and end alike.
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same..], &b[same..]);
    let same = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - same], &b[..b.len() - same]);
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (vec![0; b.len() + 1], (0..=b.len()).collect());
    let mut row = vec![0; b.len() + 1];
    let mut least_before = 0;
    for i in 1..=a.len() {
        row[0] = i;
        let mut least = i;
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
            least = least.min(row[j]);
        }
        // a swap reaches over one row
        if least > most && least_before >= most {
            return None;
        }
        least_before = least;
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    Some(last[b.len()]).filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, wanted) in
            [("", "", 0), ("a", "", 1), ("offer", "offre", 1), ("chanel", "channel", 1), ("web", "email", 5)]
        {
            let edits = |a: &str, b: &str, most| distance(&a.chars().collect::<Vec<_>>(), b, most);
            assert_eq!((edits(a, b, wanted), edits(b, a, wanted)), (Some(wanted), Some(wanted)), "{a} {b}");
            assert_eq!((edits(a, b, 9), edits(b, a, 9)), (Some(wanted), Some(wanted)), "{a} {b}");
            let fewer = wanted.checked_sub(1).and_then(|most| edits(a, b, most));
            assert_eq!(fewer, None, "{a} {b}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(did_you_mean("contry", ["country", "county"]), "; did you mean `country`?");
        assert_eq!(did_you_mean("zzz", ["country"]), "");
        assert_eq!(did_you_mean("ab", ["ac", "aa"]), "; did you mean `aa`?");
    }
}
