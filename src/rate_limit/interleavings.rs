//! The table of addresses in every interleaving: a budget is spent exactly, and clients that share
//! a line take nothing from each other.

use std::net::Ipv4Addr;

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::atomics::in_every_interleaving;

/// Each client of a row asks once, all at the same moment; how many each of them was allowed.
fn allowed<const COUNT: usize>(burst: u32, clients: [u32; COUNT]) -> [(u32, bool); COUNT] {
    let limit = Arc::new(RateLimit::new(1, burst));
    let threads = clients.map(|number| {
        let limit = Arc::clone(&limit);
        thread::spawn(move || {
            let client = Client::At(IpAddr::V4(Ipv4Addr::from_bits(number)));
            (number, limit.check(client, Mono(5_000_000)).is_ok())
        })
    });
    threads.map(|thread| thread.join().unwrap())
}

#[test]
fn three_requests_of_one_client_get_one_burst() {
    in_every_interleaving(|| {
        let allowed = allowed(2, [7, 7, 7]);
        let count = allowed.iter().filter(|(_, is)| *is).count();
        assert_eq!(count, 2, "{allowed:?}");
    });
}

#[test]
fn clients_that_meet_in_one_line_have_budgets_of_their_own() {
    in_every_interleaving(|| {
        let allowed = allowed(1, [7, 8, 7]);
        for client in [7, 8] {
            let own = allowed
                .iter()
                .filter(|(number, is)| *number == client && *is);
            assert_eq!(own.count(), 1, "{client}: {allowed:?}");
        }
    });
}
