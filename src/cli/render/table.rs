//! Columns under headings.

use crate::cli::render::HEADING;
use crate::cli::render::Look;
use crate::cli::render::text;

/// Which side a column's entries keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    #[must_use]
    pub fn new(columns: &[(&'static str, Side)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows
            .push(cells.iter().map(|cell| text::clean(cell)).collect());
    }

    /// Drawn, columns as wide as they must be, empty ones left out.
    #[must_use]
    pub fn draw(&self, look: Look) -> String {
        let wide: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(n, (title, _))| {
                let cells = self
                    .rows
                    .iter()
                    .filter_map(|row| row.get(n))
                    .map(|cell| text::columns(cell));
                match cells.max() {
                    None | Some(0) => 0,
                    Some(widest) => widest.max(title.len()),
                }
            })
            .collect();
        let titles: Vec<_> = self
            .columns
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect();
        let mut drawn = look.paint(HEADING, &self.line(&titles, &wide)) + "\n";
        for row in &self.rows {
            drawn += &self.line(row, &wide);
            drawn.push('\n');
        }
        drawn
    }

    fn line(&self, cells: &[String], wide: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), (_, side)) in cells.iter().zip(wide).zip(&self.columns) {
            if *width == 0 {
                continue;
            }
            let blanks = " ".repeat(width - text::columns(cell).min(*width));
            if !line.is_empty() {
                line += "  ";
            }
            match side {
                Side::Left => line += &(cell.clone() + &blanks),
                Side::Right => line += &(blanks + cell),
            }
        }
        line.trim_end().to_owned()
    }
}
