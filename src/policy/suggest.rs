//! Did you mean.

/// More letters than any name has.
const LONGEST: usize = 80;

/// The known name that is most like a given one, when one is like it.
pub(super) fn closest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    nearest(given, known, 1).pop()
}

/// The known names that are like a given one, the most like first, at most so many.
///
/// Capitals, `-`, `_` and `.` do not count; beyond that, a third of the letters may differ, at
/// most three.
pub fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
    most: usize,
) -> Vec<&'a str> {
    let given = fold(given);
    if given.is_empty() || given.len() > LONGEST {
        return Vec::new();
    }
    let allowed = (given.len() / 3).clamp(1, 3);
    let mut like: Vec<_> = known
        .into_iter()
        .map(|name| (name, fold(name)))
        .filter(|(_, name)| name.len().abs_diff(given.len()) <= allowed)
        .map(|(name, folded)| (distance(&given, &folded), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    like.sort_by_key(|(distance, _)| *distance);
    like.into_iter().take(most).map(|(_, name)| name).collect()
}

fn fold(name: &str) -> Vec<char> {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_' | '.'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Insertions, removals, changes and swaps of neighbours that turn one into the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last = (0..=b.len()).collect::<Vec<_>>();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j - 1] + change).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let keys = [
            "backupChainSize",
            "compress",
            "compressionLibrary",
            "validate",
        ];
        let meant = |given: &str| closest(given, keys);
        assert_eq!(meant("backupchainsize"), Some("backupChainSize"));
        assert_eq!(meant("backup_chain_size"), Some("backupChainSize"));
        assert_eq!(meant("comperss"), Some("compress"));
        assert_eq!(meant("validates"), Some("validate"));
        assert_eq!(meant("retention"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant(&"x".repeat(1_000_000)), None);
    }
}
