//! The p99 command.
fn main() {}
