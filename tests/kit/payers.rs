//! Many clients at once, each on a connection of its own that it renews when it must.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use p99::testing::payment::UpstreamId;

use super::client::{Answer, Client, id, payment};
use super::stack::{Told, metric};

/// The amount of payment `number`: 0.01 to 10.00, so that sums tell payments apart.
pub(crate) fn amount(number: usize) -> String {
    let cents = number % 1_000 + 1;
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Pays again what [`pay_all`] paid as `id`.
pub(crate) fn pay_again(client: &mut Client, UpstreamId(paid): UpstreamId) -> Answer {
    let number = usize::try_from(paid - id(0).0).unwrap();
    client.pay(UpstreamId(paid), &amount(number))
}

/// Has `clients` clients pay the payments of these numbers; what each was told, in their order.
pub(crate) fn pay_all(
    address: SocketAddr,
    clients: usize,
    numbers: Range<usize>,
) -> Vec<(UpstreamId, Told)> {
    let next = AtomicUsize::new(numbers.start);
    let mut told: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut told = Vec::new();
                    let mut client = None;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= numbers.end {
                            return told;
                        }
                        told.push((id(number), pay(address, &mut client, number)));
                    }
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    told.sort_unstable_by_key(|(id, _)| *id);
    told
}

/// One payment on a connection that is made where there is none.
pub(crate) fn pay(address: SocketAddr, slot: &mut Option<Client>, number: usize) -> Told {
    let client = slot.get_or_insert_with(|| Client::connect(address));
    client.send("POST /payments", "", &payment(id(number), &amount(number)));
    match client.read() {
        Ok(answer) => {
            if answer.field("Connection") == Some("close") {
                *slot = None;
            }
            Told::Status(answer.status)
        }
        Err(broken) => {
            *slot = None;
            Told::Nothing(broken)
        }
    }
}

/// Those that were told 202. On a busy machine the patience of others may have ended before they
/// were sent: 503, and not charged.
pub(crate) fn only_held(mut told: Vec<(UpstreamId, Told)>) -> Vec<(UpstreamId, Told)> {
    let held = with_status(&told, 202);
    assert_eq!(held + with_status(&told, 503), told.len(), "{told:?}");
    assert!(held > 0, "{told:?}");
    told.retain(|(_, word)| *word == Told::Status(202));
    told
}

/// Demands that p99 knows of each client that was left without an answer, as `page` says, and that
/// they are no more than a machine explains that stands still for a second.
pub(crate) fn assert_few_unanswered(unanswered: usize, all: usize, page: &str) {
    let closed = metric(page, r#"p99_connections_closed_total{reason="unanswered"}"#);
    let known = f64::from(u32::try_from(unanswered).unwrap()) <= closed;
    assert!(known, "{unanswered} got no answer, p99 knows of {closed}");
    assert!(
        unanswered * 20 <= all + 160,
        "{unanswered} of {all} clients got no answer"
    );
}

/// How many were told this status.
pub(crate) fn with_status(told: &[(UpstreamId, Told)], status: u16) -> usize {
    told.iter()
        .filter(|(_, word)| *word == Told::Status(status))
        .count()
}
