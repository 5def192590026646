//! The last descriptors of a process are not for clients. A test of its own, because what it opens
//! is inherited by the process that it starts, under numbers that must be low.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails shall fail loudly"
)]

#[path = "kit/mod.rs"]
mod kit;

use kit::client::wait_until;
use kit::places::{from, site};

/// Other descriptors fill the process up to the last ones, which are not for clients. Those that
/// are open from the start may be the last ones themselves: then the ones before them are kept.
#[test]
fn the_last_descriptors_are_not_for_clients() {
    for (driver, taken) in [("0", 3..103), ("1", 3..103), ("0", 80..160), ("1", 80..160)] {
        // SAFETY: neither takes a pointer; a number that is open already stays what it is.
        let copies: Vec<_> = taken
            .filter(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } < 0)
            .map(|number| unsafe { libc::dup2(2, number) })
            .collect();
        let site = site(160, driver, &[]);
        for copy in copies {
            // SAFETY: no other code knows the copy.
            unsafe { libc::close(copy) };
        }
        let crowd: Vec<_> = ["127.0.0.2", "127.0.0.3"]
            .iter()
            .flat_map(|source| (0..40).map(|_| from(source, site.p99.address)))
            .collect();
        wait_until("some are turned away", || {
            site.p99.log().contains("were refused or cut")
        });
        let open = std::fs::read_dir(format!("/proc/{}/fd", site.p99.pid())).unwrap();
        assert!(open.count() < 160, "some are kept");
        drop(crowd);
        site.wait_for("descriptors", 1);
    }
}
