//! Responses: what is done about what was found, by whose word, within which limits, and whether the kernel does it.

pub mod prefix;
pub mod safety;
pub mod words;
