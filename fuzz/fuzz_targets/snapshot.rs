//! A snapshot: whatever records lead to is written and read back as the same state; damaged in any
//! way it is refused; frames with any content are a state or a fault, never a panic.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use p99::testing::claims::SettledClaim;
use p99::testing::clock::UnixMillis;
use p99::testing::journal::JournalFault;
use p99::testing::journal::replay::{Sent, State};
use p99::testing::journal::{read_snapshot, snapshot, write_snapshot};
use p99::testing::payment::{Payment, PerProcessor, Totals, UpstreamId};
use p99_fuzz::{Input, records, scratch_file};

static PATH: LazyLock<PathBuf> = LazyLock::new(|| scratch_file("snapshot"));
const CLAIMS_MAX: usize = 64;
const EXACT: Duration = Duration::from_secs(3_600);

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choice = input.byte();
    let place = usize::try_from(input.number::<2>()).unwrap();
    if choice & 1 == 1 {
        return any_frames(input);
    }
    let mut state = State::new(CLAIMS_MAX, EXACT);
    while !input.is_empty() {
        state.apply(&records::record(&mut input));
    }
    write_snapshot(&PATH, &state).unwrap();
    assert_eq!(digest(&state), digest(&read().unwrap()));
    let mut bytes = std::fs::read(&*PATH).unwrap();
    let at = place % bytes.len();
    match choice >> 1 & 3 {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << (choice >> 5),
        2 => bytes.push(choice >> 3),
        _ => {
            let before = bytes.clone();
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
            if bytes == before {
                return;
            }
        }
    }
    std::fs::write(&*PATH, &bytes).unwrap();
    assert!(read().is_err(), "a damaged snapshot is read");
});

/// Whole frames whose payloads are any bytes, the footer made right: what is read is written and
/// read as the same.
fn any_frames(mut input: Input<'_>) {
    let mut payloads = Vec::new();
    let count = input.byte() % 8;
    for _ in 0..count {
        payloads.push(input.piece());
    }
    // What every snapshot ends with: it covers nothing, and so many frames came before.
    let footer = [35, 0, count];
    payloads.push(&footer);
    std::fs::write(&*PATH, snapshot(&payloads)).unwrap();
    let Ok(state) = read() else { return };
    write_snapshot(&PATH, &state).unwrap();
    assert_eq!(digest(&state), digest(&read().unwrap()));
}

fn read() -> Result<State, JournalFault> {
    read_snapshot(&PATH, CLAIMS_MAX, EXACT)
}

type PendingPayment = (Payment, Option<UnixMillis>, Option<Sent>, Vec<Sent>);
type Digest = (
    Vec<PendingPayment>,
    Vec<(UpstreamId, SettledClaim)>,
    PerProcessor<Totals>,
);

/// All that a state says, in an order that is the same for equal ones.
fn digest(state: &State) -> Digest {
    let pending = state
        .pending()
        .into_iter()
        // What ends with its process is not kept.
        .filter(|pending| pending.is_kept() || !pending.earlier.is_empty())
        .map(|one| {
            // The open Intent speaks for an equal one that was closed before it.
            let mut earlier = one.earlier.clone();
            earlier.retain(|sent| Some(*sent) != one.open);
            (one.payment, one.accepted_at, one.open, earlier)
        })
        .collect();
    let mut totals = PerProcessor::default();
    state.add_totals(&mut totals);
    (pending, state.settled().collect(), totals)
}
