//! Patterns for names: `*`, `?`, `[abc]`, `[a-z]`, and `\` before a character that is meant as it
//! stands. The whole text is compared, capitals count.

use crate::model::misread::Misread;

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Char(char),
    /// Ranges, both ends included.
    Set(Vec<(char, char)>),
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A set that is empty, not closed or negated; a `\` with nothing after it.
    pub fn read(text: &str) -> Result<Self, Misread> {
        let mut parts = Vec::new();
        let mut rest = text.char_indices();
        while let Some((at, c)) = rest.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                '[' => Part::Set(set(text, at, &mut rest)?),
                '\\' => {
                    let Some((_, meant)) = rest.next() else {
                        let why = Misread::new("nothing after `\\`", at..text.len());
                        return Err(why.hint("a backslash is written `\\\\`"));
                    };
                    Part::Char(meant)
                }
                c => Part::Char(c),
            });
        }
        // Several `*` in a row match what one does.
        parts.dedup_by(|a, b| *a == Part::Any && *b == Part::Any);
        Ok(Self { parts })
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text = text.chars().collect::<Vec<_>>();
        let (mut part, mut at) = (0, 0);
        // Where to go on when what follows the last `*` does not fit.
        let mut star = None;
        while at < text.len() {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    star = Some((part + 1, at));
                    part += 1;
                }
                Some(one) if one.takes(text[at]) => {
                    part += 1;
                    at += 1;
                }
                _ => match star {
                    Some((after, from)) => {
                        star = Some((after, from + 1));
                        (part, at) = (after, from + 1);
                    }
                    None => return false,
                },
            }
        }
        self.parts[part..].iter().all(|rest| *rest == Part::Any)
    }
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(meant) => *meant == c,
            Self::Set(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)),
        }
    }
}

fn set(
    text: &str,
    open: usize,
    rest: &mut std::str::CharIndices<'_>,
) -> Result<Vec<(char, char)>, Misread> {
    let refuse = |what: &str, to: usize, hint: &str| Err(Misread::new(what, open..to).hint(hint));
    let mut ranges = Vec::<(char, char)>::new();
    // A `-` between two characters that was read and waits for the second.
    let mut range = false;
    while let Some((at, c)) = rest.next() {
        let c = match c {
            ']' if ranges.is_empty() => {
                return refuse("an empty set", at + 1, "a bracket is written `\\[`");
            }
            ']' => {
                if range {
                    ranges.push(('-', '-'));
                }
                return Ok(ranges);
            }
            '!' | '^' if ranges.is_empty() => {
                return refuse(
                    "sets are not negated",
                    at + 1,
                    "write `exclude` for what is not meant",
                );
            }
            '-' if !range && ranges.last().is_some_and(|(from, to)| from == to) => {
                range = true;
                continue;
            }
            '\\' => match rest.next() {
                Some((_, meant)) => meant,
                None => break,
            },
            c => c,
        };
        match ranges.last_mut() {
            Some(last) if range => {
                if last.1 > c {
                    return refuse(
                        "a range that runs backwards",
                        at + c.len_utf8(),
                        "the smaller end comes first",
                    );
                }
                last.1 = c;
                range = false;
            }
            _ => ranges.push((c, c)),
        }
    }
    refuse(
        "a set that is not closed",
        text.len(),
        "a bracket is written `\\[`",
    )
}
