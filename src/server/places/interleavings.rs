//! Places and the table of addresses in every interleaving: bounds hold, and what was counted is
//! given back whole.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::atomics::in_every_interleaving;

fn places(clients: usize, per_address: usize) -> Arc<Places> {
    Arc::new(Places::new(descriptors::Places {
        clients,
        per_address,
        probes: 1,
        admins: 1,
        overlap: 0,
    }))
}

fn in_three_threads<T: Send + 'static>(places: &Arc<Places>, part: fn(&Places, u8) -> T) -> [T; 3] {
    let threads = [0, 1, 2].map(|number| {
        let places = Arc::clone(places);
        thread::spawn(move || part(&places, number))
    });
    threads.map(|thread| thread.join().unwrap())
}

#[test]
fn three_cores_take_two_places_and_give_them_back() {
    in_every_interleaving(|| {
        let places = places(2, 9);
        let taken = in_three_threads(&places, |places, _| places.take(Place::Client, false));
        assert_eq!(taken.iter().filter(|is| **is).count(), 2, "{taken:?}");
        places.give_back(Place::Client);
        assert!(places.take(Place::Client, false));
    });
}

#[test]
fn an_address_gets_what_it_may_and_gives_it_back() {
    in_every_interleaving(|| {
        let places = places(9, 2);
        let address = IpAddr::from([10, 0, 0, 1]);
        let counted = in_three_threads(&places, |places, _| {
            places.count(IpAddr::from([10, 0, 0, 1]))
        });
        let held: Vec<Counted> = counted
            .iter()
            .filter_map(|one| one.ok().flatten())
            .collect();
        assert_eq!(held.len(), 2, "{counted:?}");
        for one in held {
            places.uncount(one);
        }
        assert!(places.count(address).is_ok());
        assert!(places.count(address).is_ok());
        assert!(places.count(address).is_err());
    });
}

/// Connections of two addresses come and go in one line; nothing of them stays.
#[test]
fn addresses_of_one_line_leave_nothing_behind() {
    in_every_interleaving(|| {
        let places = places(9, 9);
        in_three_threads(&places, |places, number| {
            let address = IpAddr::from([10, 0, 0, number % 2]);
            let counted = places.count(address).unwrap();
            places.uncount(counted.unwrap());
        });
        let left = places.lines.iter().flatten();
        let left: u64 = left.map(|word| word.load(Relaxed) & COUNT_MASK).sum();
        assert_eq!(left, 0);
    });
}
