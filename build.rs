//! Builds what Cargo cannot.
fn main() {}
