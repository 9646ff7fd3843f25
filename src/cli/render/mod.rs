//! Values to text. Nothing here asks anything or prints.

pub mod findings;
