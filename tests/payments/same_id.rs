//! I1: one id, one owner core. Many clients ask for one id at the same moment; the processors, who
//! count for themselves, see one attempt.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use crate::kit::client::{Client, id, payment};
use crate::kit::stack::{Stack, Told, count};
use crate::on_both_drivers_together;

const THREADS: usize = 8;
const CLIENTS_PER_THREAD: usize = 8;
const CLIENTS: usize = THREADS * CLIENTS_PER_THREAD;

/// Every round: 64 connections, one id, all requests written before any answer is read.
fn race(address: SocketAddr, rounds: usize) -> Vec<Vec<u16>> {
    let start = Barrier::new(THREADS);
    let by_thread: Vec<Vec<Vec<u16>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut clients: Vec<_> = (0..CLIENTS_PER_THREAD)
                        .map(|_| Client::connect(address))
                        .collect();
                    let mut rounds_seen = Vec::new();
                    for round in 0..rounds {
                        let body = payment(id(round), "19.90");
                        start.wait();
                        for client in &mut clients {
                            client.send("POST /payments", "", &body);
                        }
                        let statuses = clients
                            .iter_mut()
                            .map(|client| client.read().unwrap().status)
                            .collect();
                        rounds_seen.push(statuses);
                    }
                    rounds_seen
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    (0..rounds)
        .map(|round| {
            by_thread
                .iter()
                .flat_map(|rounds| rounds[round].clone())
                .collect()
        })
        .collect()
}

fn one_attempt(driver: &str, cores: &str, more: &[(&str, &str)], first: u16) {
    let rounds = count(20, 200);
    // A hedge would be a second attempt, and rightly so on a machine that stands still.
    let usual = [("CORES", cores), ("HEDGE_DELAY_MS", "60000")];
    let stack = Stack::start(driver, &[&usual, more].concat());
    let seen = race(stack.address(), rounds);
    let mut told = Vec::new();
    for (round, statuses) in seen.iter().enumerate() {
        assert_eq!(statuses.len(), CLIENTS);
        let of = |status| statuses.iter().filter(|one| **one == status).count();
        assert_eq!(
            (of(first), of(409)),
            (1, CLIENTS - 1),
            "round {round}: {statuses:?}"
        );
        told.push((id(round), Told::Status(first)));
    }
    stack.audit("same id", &told);
    for round in 0..rounds {
        assert_eq!(
            stack.attempts(id(round)),
            1,
            "I1: attempts in round {round}"
        );
    }
    let hand_overs = stack.metric("p99_hand_overs_total");
    eprintln!("{cores} cores: {rounds} rounds, {hand_overs} hand-overs, 1 attempt each");
    stack.stop();
}

on_both_drivers_together! {
    on_two_cores_64_clients_with_one_id_cause_one_attempt,
    on_four_cores_64_clients_with_one_id_cause_one_attempt,
    so_they_do_when_only_acceptance_is_waited_for,
}

fn on_two_cores_64_clients_with_one_id_cause_one_attempt(driver: &str) {
    one_attempt(driver, "2", &[], 200);
}

fn on_four_cores_64_clients_with_one_id_cause_one_attempt(driver: &str) {
    one_attempt(driver, "4", &[], 200);
}

fn so_they_do_when_only_acceptance_is_waited_for(driver: &str) {
    one_attempt(driver, "4", &[("ACK", "accepted")], 202);
}
