//! "Did you mean": the nearest of the names that would have been right.

/// Longest name that is compared or echoed, bytes.
const NAME_BYTES_MAX: usize = 64;

/// A name as it is shown in an error: in backticks, cut when it is long.
pub fn quoted(name: &str) -> String {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let dots = if end < name.len() { "..." } else { "" };
    format!("`{}{dots}`", name[..end].escape_debug())
}

/// `; did you mean ...?`, or nothing when no name is near.
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    if name.len() > NAME_BYTES_MAX {
        return String::new();
    }
    let allowed = name.chars().count().div_ceil(2).clamp(1, 3);
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(far, _)| *far <= allowed)
        .min()
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`"))
}

/// Levenshtein distance in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let known = ["basket_value", "page", "device"];
        assert_eq!(did_you_mean("basket_vlaue", known.into_iter()), "; did you mean `basket_value`");
        assert_eq!(did_you_mean("weather", known.into_iter()), "");
        assert_eq!(quoted(&"x".repeat(1 << 20)).len(), NAME_BYTES_MAX + 5);
    }
}
