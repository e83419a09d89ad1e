//! Shrike binary.
fn main() {}
