//! The test's luck: SplitMix64 from a seed that is printed, so that a bad run can be tried again.
//! Threads and kills stay as the machine makes them; the same seed gives the same plan, no more.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Dice(u64);

impl Dice {
    /// From CRASH_SEED, else from the clock.
    pub(crate) fn for_test(name: &str) -> Self {
        let seed = wanted("CRASH_SEED").unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_nanos() as u64 % 1_000_000_007
        });
        say(&format!("{name}: CRASH_SEED={seed}"));
        Self(seed)
    }

    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

pub(crate) const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
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
