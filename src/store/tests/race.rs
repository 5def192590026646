//! Four machines race for the same ids on one store while the network loses, repeats and delays
//! what they send and what they hear. Belief of each against the tables, and the sums against the
//! rows.

use std::collections::BTreeMap;

use super::*;

/// A plain generator; every race is its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[derive(Default)]
struct Belief {
    claims: BTreeMap<u64, u128>,
    lost: Vec<u64>,
    durable: u64,
    /// Ids that are ours and settled, or freed again.
    ended: BTreeMap<u128, bool>,
    told: u64,
}

struct Racer {
    machine: Machine,
    belief: Belief,
    /// Copies on their way, which may arrive later.
    late: Vec<Transaction>,
}

impl Racer {
    fn hear(&mut self) {
        while let Some(report) = self.machine.next_report() {
            match report {
                Report::Lost { sequence, .. } => self.belief.lost.push(sequence),
                Report::Durable { up_to, .. } => self.belief.durable = up_to,
                Report::Fenced | Report::WentBack { .. } | Report::Broken(_) => {
                    panic!("{report:?}")
                }
                _ => {}
            }
        }
    }

    /// The ids that it believes to have.
    fn won(&self) -> BTreeMap<u128, u64> {
        let belief = &self.belief;
        let claims = belief.claims.iter();
        let won = claims.filter(|(sequence, _)| {
            **sequence <= belief.durable && !belief.lost.contains(sequence)
        });
        won.map(|(sequence, id)| (*id, *sequence)).collect()
    }

    fn say_something(&mut self, dice: &mut Dice) {
        let won = self.won();
        let open: Vec<u128> = won
            .keys()
            .filter(|id| !self.belief.ended.contains_key(id))
            .copied()
            .collect();
        let haste = if dice.below(2) == 0 {
            Haste::Now
        } else {
            Haste::Later
        };
        if !open.is_empty() && dice.below(2) == 0 {
            let id = open[usize::try_from(dice.below(open.len() as u64)).unwrap()];
            let is_charged = dice.below(4) > 0;
            let record = if is_charged {
                applied(id, 50)
            } else {
                freed(id)
            };
            self.machine.append(record, haste);
            self.belief.ended.insert(id, is_charged);
        } else {
            let id = u128::from(dice.below(400) + 1);
            let is_known = self.belief.claims.values().any(|known| *known == id);
            if !is_known {
                let sequence = self.machine.append(intent(id, 50), haste);
                self.belief.claims.insert(sequence, id);
            }
        }
        self.belief.told += 1;
    }

    /// One step of its way to the store and back.
    fn step(&mut self, model: &mut Model, dice: &mut Dice, now: Boot, faults: bool) {
        if !self.late.is_empty() && dice.below(5) == 0 {
            let late = self.late.swap_remove(0);
            model.perform(&late, now.0);
        }
        let Some(command) = self.machine.next(now) else {
            return;
        };
        let outcome = match command {
            Command::Connect => Outcome::Connected,
            Command::Transact(transaction) => match dice.below(if faults { 8 } else { 1 }) {
                1 => {
                    model.perform(&transaction, now.0);
                    Outcome::Doubtful("answer lost".to_owned())
                }
                2 => {
                    self.late.push(*transaction);
                    Outcome::Doubtful("held back".to_owned())
                }
                3 => Outcome::Doubtful("request lost".to_owned()),
                4 => Outcome::NotDone {
                    code: *b"40P01",
                    why: "deadlock".to_owned(),
                },
                5 => {
                    let answer = model.perform(&transaction, now.0);
                    self.late.push(*transaction);
                    Outcome::Acknowledged(answer)
                }
                _ => Outcome::Acknowledged(model.perform(&transaction, now.0)),
            },
        };
        self.machine.outcome(outcome, now);
        self.hear();
    }
}

fn race(seed: u64) -> u64 {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut model = Model::default();
    let mut racers: Vec<Racer> = (0..4)
        .map(|number| Racer {
            machine: machine(seed * 10 + number, Boot(0)),
            belief: Belief::default(),
            late: Vec::new(),
        })
        .collect();
    let mut now = Boot(0);
    for _ in 0..3_000 {
        now = Boot(now.0 + dice.below(400));
        let index = usize::try_from(dice.below(4)).unwrap();
        let racer = &mut racers[index];
        if dice.below(2) == 0 {
            racer.say_something(&mut dice);
        }
        racer.step(&mut model, &mut dice, now, true);
    }
    let mut doubtful = 0;
    for racer in &mut racers {
        racer.machine.flush();
        while racer.machine.durable() < racer.machine.last() {
            now = Boot(now.0 + 5_000);
            racer.step(&mut model, &mut dice, now, false);
        }
        for late in std::mem::take(&mut racer.late) {
            model.perform(&late, now.0);
        }
        doubtful += racer.machine.doubtful();
    }
    judge(&racers, &model, seed);
    doubtful
}

fn judge(racers: &[Racer], model: &Model, seed: u64) {
    let mut charged = 0;
    let mut believed = 0;
    for racer in racers {
        let writer = racer.machine.writer().unwrap();
        for id in racer.won().into_keys() {
            let row = model.rows.get(&UpstreamId(id));
            let ended = racer.belief.ended.get(&id).copied();
            if ended == Some(false) {
                let is_ours = row.is_some_and(|row| row.row.writer == writer);
                assert!(!is_ours, "seed {seed}: {id} is free");
                continue;
            }
            let row = row.unwrap_or_else(|| panic!("seed {seed}: {id} is not there"));
            assert_eq!(
                row.row.writer, writer,
                "seed {seed}: {id} was claimed twice"
            );
            assert_eq!(row.row.status.is_open(), ended.is_none(), "seed {seed}");
            charged += u64::from(ended == Some(true));
            believed += 1;
        }
    }
    assert_eq!(
        believed,
        model.rows.len(),
        "seed {seed}: a row that no one knows"
    );
    assert_eq!(model.totals().get(A).count, charged, "seed {seed}: sums");
}

#[test]
fn no_id_is_claimed_twice_and_no_charge_counted_twice_whatever_is_lost_or_repeated() {
    let doubtful: u64 = (1..=12).map(race).sum();
    assert!(doubtful > 200, "only {doubtful} batches were in doubt");
}
