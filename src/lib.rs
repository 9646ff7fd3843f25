//! knib
