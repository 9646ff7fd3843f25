//! `knib files` and a guest that means harm, or is broken.
