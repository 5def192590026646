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

/// Other descriptors fill the process up to the last ones, which are not for clients.
#[test]
fn the_last_descriptors_are_not_for_clients() {
    for driver in ["0", "1"] {
        // SAFETY: dup takes no pointer; the copies are this test's own.
        let copies: Vec<_> = (0..100).map(|_| unsafe { libc::dup(2) }).collect();
        let site = site(160, driver, &[]);
        for copy in copies {
            // SAFETY: as above, and no other code knows the copy.
            unsafe { libc::close(copy) };
        }
        let crowd: Vec<_> = ["127.0.0.2", "127.0.0.3"]
            .iter()
            .flat_map(|source| (0..40).map(|_| from(source, site.p99.address)))
            .collect();
        wait_until("some are turned away", || {
            site.p99.log().contains("were refused or cut")
        });
        drop(crowd);
        site.wait_for("descriptors", 1);
    }
}
