//! How a process begins and ends, seen from outside: who gets an address, what signals do, what
//! the process shows of itself, and its commands (`command_line`, `questions`,
//! `recipes`). Real processes on
//! both drivers; `SOAK=1` plays the full numbers.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "what goes wrong here shall fail the test, and a process is waited for by the clock"
)]

mod addresses;
mod command_line;
#[path = "../kit/mod.rs"]
mod kit;
mod lines;
mod passing;
mod questions;
mod recipes;
mod restarts;
mod signals;
mod supervised;

/// Makes two tests of each function, one for each driver.
macro_rules! on_both_drivers {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn on_the_best_driver() {
                    super::$name("0");
                }

                #[test]
                fn on_epoll() {
                    super::$name("1");
                }
            }
        )+
    };
}
pub(crate) use on_both_drivers;
