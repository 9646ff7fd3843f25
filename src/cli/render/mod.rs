//! Values to text. Nothing here asks anything or prints.

pub mod explain;
pub mod findings;
pub mod forecast;
pub mod lists;
pub mod plan;
pub mod report;
pub mod said;
pub mod table;
pub mod text;

use anstyle::AnsiColor;
use anstyle::Style;

/// How text is to look: how many columns there are, and whether colours are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Colours are understood.
    pub colour: bool,
}

impl Look {
    /// As in a pipe.
    pub const PLAIN: Self = Self {
        width: 80,
        colour: false,
    };

    /// A text in a style, where that is understood.
    #[must_use]
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Each colour means one thing: this went well, or is new.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// This changes, or should be looked at.
pub const CHANGED: Style = AnsiColor::Yellow.on_default();
/// This failed, goes, or wants a human.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// A heading.
pub const HEADING: Style = Style::new().bold();
/// Second in importance.
pub const FAINT: Style = Style::new().dimmed();
