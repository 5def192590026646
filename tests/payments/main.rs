//! Real cores, real sockets, simulated processors: what README promises, seen from outside. What
//! was charged is always read from the processors' own rows, never from p99's counters.
//!
//! - `kit`, `places`, `certificates`, `tls_by_hand`: what the tests stand on;
//! - `api`, `upstream`, `reach`, `reach_unasked`, `adapter`: single requests, on both sides;
//! - `same_id`, `faults`, `tls`, `tls_peers`, `tls_sessions`, `tls_nginx`, `chaos`, `unknown`,
//!   `hedging`, `accepted`: exactly once, under trouble;
//! - `operators`, `not_operators`, `refused`: what is asked over ADMIN_LISTEN, by whom;
//! - `drain`, `process`, `no_mixup`, `tokens`: the process as a whole, as the real binary.
//!
//! Every test runs on io_uring and on epoll. Ports are always 0, waits end at a deadline. The usual
//! run is short; `SOAK=1` raises every count to the full number (docs/HACKING.md).

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test that fails shall fail loudly, and deadlines need the real clock"
)]

mod certificates;
mod changes;
#[path = "../kit/mod.rs"]
mod kit;
mod places;

mod accepted;
mod adapter;
mod addresses;
mod api;
mod chaos;
mod drain;
mod early;
mod faults;
mod hedging;
mod no_mixup;
mod not_operators;
mod operators;
mod process;
mod reach;
mod reach_unasked;
mod refused;
mod same_id;
mod tls;
mod tls_by_hand;
mod tls_nginx;
mod tls_peers;
mod tls_sessions;
mod tokens;
mod unknown;
mod upstream;

/// Makes two tests of each function: on io_uring (where the kernel allows it) and on epoll.
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

/// Makes two tests of all these functions, one for each driver: they mostly wait, so they wait
/// together, each with a server of its own.
macro_rules! on_both_drivers_together {
    ($($name:ident),+ $(,)?) => {
        #[test]
        fn all_on_the_best_driver() {
            $crate::run_together("0", &[$((stringify!($name), $name)),+]);
        }

        #[test]
        fn all_on_epoll() {
            $crate::run_together("1", &[$((stringify!($name), $name)),+]);
        }
    };
}

/// One test without its attribute, and its name.
type Body = (&'static str, fn(&str));

/// Runs these bodies at once; `ONLY=part-of-a-name` chooses among them, `LOG=debug` shows what they
/// log.
fn run_together(driver: &'static str, bodies: &[Body]) {
    let only = std::env::var("ONLY").unwrap_or_default();
    if let Ok(filter) = std::env::var("LOG") {
        // The second test of a process finds it started.
        let _ = p99::testing::logging::start(&filter, p99::testing::logging::Format::Text);
    }
    let threads: Vec<_> = bodies
        .iter()
        .filter(|(name, _)| name.contains(&only))
        .map(|(name, body)| {
            let (name, body) = (*name, *body);
            let thread = std::thread::Builder::new().name(name.to_owned());
            let body = move || {
                let began = std::time::Instant::now();
                body(driver);
                eprintln!("{name}: {:.1} s", began.elapsed().as_secs_f32());
            };
            (name, thread.spawn(body).unwrap())
        })
        .collect();
    let failed: Vec<_> = threads
        .into_iter()
        .filter_map(|(name, thread)| thread.join().is_err().then_some(name))
        .collect();
    assert!(failed.is_empty(), "failed, see above: {failed:?}");
}

pub(crate) use on_both_drivers;
pub(crate) use on_both_drivers_together;
