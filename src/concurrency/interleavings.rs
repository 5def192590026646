//! The limit in every interleaving: no charge of a round is lost, and none is counted twice.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::atomics::in_every_interleaving;

/// A limit of four, of which some core needs more.
fn of_four() -> Arc<Limit> {
    let limit = Limit::new(Bounds::new(64, 1));
    for _ in 0..3 {
        limit.on_trip();
    }
    assert_eq!(limit.get(), 4);
    limit.on_need();
    Arc::new(limit)
}

fn on_another(limit: &Arc<Limit>, tell: fn(&Limit)) -> thread::JoinHandle<()> {
    let limit = Arc::clone(limit);
    thread::spawn(move || tell(&limit))
}

#[test]
fn the_charges_of_three_cores_end_one_round() {
    in_every_interleaving(|| {
        let limit = of_four();
        let charge_once: fn(&Limit) = Limit::on_charge;
        let others = [
            on_another(&limit, charge_once),
            on_another(&limit, charge_once),
        ];
        limit.on_charge();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(limit.get(), 4, "one charge of the round is left");
        limit.on_charge();
        assert_eq!(limit.get(), 5);
    });
}

#[test]
fn a_429_beside_charges_cuts_once_and_its_round_does_not_grow() {
    in_every_interleaving(|| {
        let limit = Arc::new(Limit::new(Bounds::new(64, 1)));
        limit.on_need();
        let shed: fn(&Limit) = Limit::on_shed;
        let others = [
            on_another(&limit, shed),
            on_another(&limit, Limit::on_charge),
        ];
        limit.on_shed();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(limit.get(), 28, "32 times 0.9, once");
    });
}
