//! Who is taken over after the store was away: the dead, and not who comes back a moment later.

use super::*;

const SECOND: u64 = 1_000_000;

fn lookout(seed: u64, now: Boot) -> Machine {
    Machine::new(MachineTerms {
        is_lookout: true,
        ..terms(seed, now)
    })
}

/// Who is named as expired while `machine` is at the store from `from` to `to`, in seconds.
fn expired(machine: &mut Machine, model: &mut Model, (from, to): (u64, u64)) -> Vec<WriterId> {
    let mut all = Vec::new();
    for step in from * 10..to * 10 {
        settle(machine, model, Boot(step * SECOND / 10));
        for report in told(machine) {
            if let Report::Expired(writers) = report {
                all.extend(writers.into_iter().map(|(writer, _)| writer));
            }
        }
    }
    all
}

#[test]
fn after_an_outage_everybody_may_come_back_first() {
    let (mut model, now) = (Model::default(), Boot(SECOND));
    let mut one = lookout(1, now);
    let mut other = machine(2, now);
    let mut dead = machine(3, now);
    for (number, machine) in (1..).zip([&mut one, &mut other, &mut dead]) {
        settle(machine, &mut model, now);
        machine.append(intent(number, 50), Haste::Now);
        settle(machine, &mut model, now);
    }
    let [alive, gone] = [&other, &dead].map(|one| one.writer().unwrap());
    assert_eq!(expired(&mut one, &mut model, (1, 5)), []);
    // The store is away for longer than a lease, and the first one is back at once.
    assert_eq!(expired(&mut one, &mut model, (20, 21)), []);
    settle(&mut other, &mut model, Boot(21 * SECOND));
    let named = expired(&mut one, &mut model, (21, 26));
    assert!(
        named.contains(&gone) && !named.contains(&alive),
        "{named:?}"
    );
    // One that has only just come knows nothing of that.
    let mut new = lookout(4, Boot(40 * SECOND));
    assert_eq!(expired(&mut new, &mut model, (40, 41)), []);
    settle(&mut other, &mut model, Boot(41 * SECOND));
    assert!(!expired(&mut new, &mut model, (41, 46)).contains(&alive));
}
