//! The test's luck, from a seed that is printed so that a bad run can be tried again, and what
//! else the environment asks for.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

#[path = "../kit/dice.rs"]
mod luck;

pub(crate) use luck::{Dice, mix};

impl Dice {
    /// From CRASH_SEED, else from the clock.
    pub(crate) fn for_test(name: &str) -> Self {
        let seed = wanted("CRASH_SEED").unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_nanos() as u64 % 1_000_000_007
        });
        say(&format!("{name}: CRASH_SEED={seed}"));
        Self::new(seed)
    }
}

/// A number in the environment.
pub(crate) fn wanted(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Shown with `--nocapture`, or when the test fails. The harness catches `println!` alone.
#[allow(clippy::print_stdout, reason = "what a test says about itself")]
pub(crate) fn say(text: &str) {
    println!("{text}");
    let _ = std::io::stdout().flush();
}
