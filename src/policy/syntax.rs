//! What is meant by a syntax error of YAML, and what to write: mostly a value that needs quotes.

use super::source::Place;

/// A syntax error in words of people.
pub(super) struct Meant {
    pub place: Place,
    pub label: String,
    pub hint: Option<String>,
}

/// Makes sense of what a parser said about a place in a text.
pub(super) fn explain(text: &str, place: Place, why: &str) -> Meant {
    let place = before_the_end(text, place);
    let line_start = text[..place.start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let column = place.start - line_start;
    let meant = |label: &str, hint: &str| Meant {
        place,
        label: label.to_owned(),
        hint: Some(hint.to_owned()),
    };
    if line[..line.len() - line.trim_start().len()].contains('\t') {
        return meant("a tab", "indent with spaces, not with tabs");
    }
    let first = line.get(column..).and_then(|rest| rest.chars().next());
    if let Some(first @ ('*' | '@' | '`' | '%' | '&' | '!' | '|' | '>')) = first {
        let label = match first {
            '*' => "begins with `*`, which stands for an alias".to_owned(),
            first => format!("text cannot begin with `{first}`"),
        };
        return quoted(line, line_start, column, place, label);
    }
    if why.contains("mapping values are not allowed") {
        return match line.find(": ") {
            // A key where the value of the line above would go on.
            Some(colon) if colon == column => meant(
                "no key is expected here",
                "is the line indented as its neighbours are?",
            ),
            Some(colon) => {
                let label = "a second `: ` in one line".to_owned();
                quoted(line, line_start, colon + 2, place, label)
            }
            None => meant(
                "no `:` is expected here",
                "put text that holds a `:` in quotes",
            ),
        };
    }
    Meant {
        place,
        label: plain(why),
        hint: None,
    }
}

/// What is missing at the end of a file is shown behind the last thing in it.
fn before_the_end(text: &str, place: Place) -> Place {
    let end = text.trim_end().len();
    if place.start < end {
        return place;
    }
    let last = text[..end].char_indices().next_back();
    Place {
        start: last.map_or(0, |(at, _)| at),
        end,
        ..place
    }
}

/// The value that begins at `from`, to be put in quotes.
fn quoted(line: &str, line_start: usize, from: usize, place: Place, label: String) -> Meant {
    let rest = &line[from..];
    let rest = &rest[..rest.find(" #").unwrap_or(rest.len())];
    let inside = line[..from].contains(['[', '{']);
    let end = rest.find([',', ']', '}']).filter(|_| inside);
    let value = rest[..end.unwrap_or(rest.len())].trim_end();
    let start = line_start + from;
    let plain = !value.is_empty() && !value.contains(['"', '\\']);
    Meant {
        place: Place {
            start,
            end: start + value.len().max(1),
            ..place
        },
        label,
        hint: plain.then(|| format!("put it in quotes: `\"{value}\"`")),
    }
}

/// The parser's words, without the part that only its authors need.
fn plain(why: &str) -> String {
    let what = why.rsplit_once(", ").map_or(why, |(_, what)| what);
    let missing = ["did not find expected ", "expected "]
        .iter()
        .find_map(|lead| what.strip_prefix(lead));
    let what = missing.map_or_else(|| what.to_owned(), |what| format!("{what} is missing"));
    what.replace(['<', '>'], "").replace('`', "'")
}
