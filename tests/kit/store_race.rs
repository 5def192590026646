//! Writers that race for the same ids on a real store, as cores of several instances would, and the
//! judge: what each believes, joined with the tables and the rollup.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use p99::testing::clock::{Boot, UnixMillis};
use p99::testing::config::StoreUrl;
use p99::testing::journal::{Haste, Verdict};
use p99::testing::payment::{Cents, CorrelationId, Payment, Processor, UpstreamId};
use p99::testing::reactor::Reactor;
use p99::testing::store::{Machine, MachineTerms, Record, Report, StorePlace, Writer, WriterId};

use super::dice::Dice;
use super::postgres::Cluster;
use super::report::Report as Table;

/// What one race is.
#[derive(Clone, Debug)]
pub(crate) struct Race {
    pub(crate) store: String,
    pub(crate) writers: u64,
    pub(crate) seconds: u64,
    /// Ids that are asked for in one turn of a writer.
    pub(crate) burst: u64,
}

/// What a writer believes.
#[derive(Debug, Default)]
pub(crate) struct Belief {
    pub(crate) writer: Option<WriterId>,
    claims: BTreeMap<u64, u128>,
    lost: BTreeSet<u64>,
    durable: u64,
    charged: BTreeMap<u128, u64>,
    pub(crate) ended: Option<String>,
    pub(crate) doubtful: u64,
    pub(crate) faults: u64,
}

impl Belief {
    fn won(&self) -> impl Iterator<Item = u128> + '_ {
        let known = self.claims.range(..=self.durable);
        known
            .filter(|(sequence, _)| !self.lost.contains(sequence))
            .map(|(_, id)| *id)
    }

    /// Ids whose charge is durable.
    fn charged(&self) -> impl Iterator<Item = u128> + '_ {
        let charged = self.charged.iter();
        charged
            .filter(|(_, sequence)| **sequence <= self.durable)
            .map(|(id, _)| *id)
    }
}

fn payment(number: u128) -> Payment {
    // Spread, as clients' ids are.
    let id = UpstreamId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    Payment {
        id,
        correlation_id: CorrelationId::try_new(&id.to_string()).unwrap(),
        amount: Cents(1_990),
    }
}

/// Runs the race on this thread.
pub(crate) fn run(race: &Race) -> Vec<Belief> {
    let race = race.clone();
    Reactor::best().unwrap().run(async move {
        let begun = Boot::now();
        let end = begun.after(Duration::from_secs(race.seconds));
        let mut all = Vec::new();
        for number in 0..race.writers {
            all.push(monoio::spawn(racer(race.clone(), number, begun, end)));
        }
        let mut beliefs = Vec::new();
        for one in all {
            beliefs.push(one.await);
        }
        beliefs
    })
}

async fn racer(race: Race, number: u64, begun: Boot, end: Boot) -> Belief {
    let url = StoreUrl::parse(&race.store, &|_| None).unwrap();
    let place = Rc::new(StorePlace::new(url, true));
    let machine = Machine::new(MachineTerms {
        holder: format!("race/{number}"),
        seed: p99::testing::keys::unlike_all(),
        is_lookout: false,
        now: begun,
    });
    let (writer, task) = Writer::new(machine, place);
    let belief = Rc::new(RefCell::new(Belief::default()));
    let fresh: Rc<RefCell<Vec<u128>>> = Rc::default();
    let faults = Rc::new(Cell::new(0_u64));
    let (told, counted) = (Rc::clone(&belief), Rc::clone(&faults));
    let opened = Rc::clone(&fresh);
    let hear = move |report| hear(report, &mut told.borrow_mut(), &mut opened.borrow_mut());
    monoio::spawn(task.run(hear, move |_| counted.set(counted.get() + 1)));
    let mut dice = Dice::new(77 + number);
    let late = end.after(Duration::from_secs(60));
    loop {
        let now = Boot::now();
        let is_over = belief.borrow().ended.is_some();
        let is_done = now >= end && writer.look(|machine| machine.durable() == machine.last());
        if is_over || is_done || now >= late {
            break;
        }
        if now < end {
            turn(&race, &writer, (&belief, &fresh), (begun, now), &mut dice);
        } else {
            writer.flush();
        }
        // Until all of it is known, a little longer than a commit takes.
        monoio::time::sleep(Duration::from_millis(2)).await;
    }
    let doubtful = writer.look(Machine::doubtful);
    let mut belief = belief.take();
    belief.writer = writer.look(Machine::writer);
    belief.doubtful = doubtful;
    belief.faults = faults.get();
    belief
}

fn hear(report: Report, belief: &mut Belief, opened: &mut Vec<u128>) {
    match report {
        Report::Lost { sequence, .. } => {
            belief.lost.insert(sequence);
        }
        Report::Durable { up_to, .. } => {
            let before = belief.durable;
            belief.durable = up_to;
            let known = belief.claims.range(before + 1..);
            let known = known.take_while(|(sequence, _)| **sequence <= up_to);
            let won = known.filter(|(sequence, _)| !belief.lost.contains(sequence));
            opened.extend(won.map(|(_, id)| *id));
        }
        Report::Fenced | Report::WentBack { .. } | Report::Broken(_) => {
            belief.ended = Some(format!("{report:?}").chars().take(200).collect());
        }
        _ => {}
    }
}

/// Claims ids that the others claim too, and charges most of those that it has.
fn turn(
    race: &Race,
    writer: &Writer,
    (belief, fresh): (&RefCell<Belief>, &RefCell<Vec<u128>>),
    (begun, now): (Boot, Boot),
    dice: &mut Dice,
) {
    let is_busy = writer.look(|machine| machine.last() > machine.durable() + 500);
    if is_busy {
        return;
    }
    let millis = u64::try_from(now.since(begun).as_millis()).unwrap();
    let mut belief = belief.borrow_mut();
    for _ in 0..race.burst {
        let id = u128::from(millis * 20 + dice.below(400)) + 1;
        let at = UnixMillis(1_700_000_000_000 + i64::try_from(millis).unwrap());
        let is_known = belief
            .claims
            .values()
            .rev()
            .take(2_000)
            .any(|known| *known == id);
        if !is_known {
            let record = Record::Intent {
                payment: payment(id),
                processor: Processor::DEFAULT,
                requested_at: at,
                accepted_at: None,
                address: None,
            };
            let sequence = writer.append(record, Haste::Now);
            belief.claims.insert(sequence, id);
        }
    }
    for id in std::mem::take(&mut *fresh.borrow_mut()) {
        if dice.below(10) == 0 {
            continue;
        }
        let verdict = Verdict::Applied {
            processor: Processor::DEFAULT,
            amount: Cents(1_990),
            requested_at: UnixMillis(1_700_000_000_000),
        };
        let id_of = payment(id).id;
        let sequence = writer.append(Record::Verdict { id: id_of, verdict }, Haste::Later);
        belief.charged.insert(id, sequence);
    }
}

/// Joins what the writers believe with what `cluster` has.
pub(crate) fn judge(beliefs: &[Belief], cluster: &Cluster, table: &mut Table) {
    let rows = cluster.sql("p99", "SELECT id, writer, status FROM p99.payment");
    let rows: BTreeMap<String, (i32, i16)> = rows
        .lines()
        .map(|line| {
            let mut fields = line.split('|');
            let id = fields.next().unwrap().to_owned();
            let mut number = || fields.next().unwrap().parse::<i32>().unwrap();
            (id, (number(), i16::try_from(number()).unwrap()))
        })
        .collect();
    let mut believed = BTreeMap::new();
    let (mut asked, mut doubtful, mut faults, mut charged) = (0, 0, 0, 0_u64);
    for belief in beliefs {
        asked += belief.claims.len();
        doubtful += belief.doubtful;
        faults += belief.faults;
        for id in belief.won() {
            let id = payment(id).id.to_string();
            if believed.insert(id.clone(), belief.writer).is_some() {
                table.broke("an id was claimed twice", || id.clone());
            }
            match rows.get(&id) {
                Some((writer, _)) if Some(WriterId(*writer)) == belief.writer => {}
                other => table.broke("what is believed is there", || format!("{id}: {other:?}")),
            }
        }
        for id in belief.charged() {
            charged += 1;
            let id = payment(id).id.to_string();
            if rows.get(&id).map(|(_, status)| *status) != Some(2) {
                table.broke("what is charged is there as charged", || id.clone());
            }
        }
        if let Some(why) = &belief.ended {
            table.broke("no writer stops", || why.clone());
        }
    }
    for (id, (writer, _)) in &rows {
        if !believed.contains_key(id) {
            table.broke("no row is unknown to its writer", || {
                format!("{id} of {writer}")
            });
        }
    }
    let count = |sql: &str| -> u64 { cluster.sql("p99", sql).trim().parse().unwrap() };
    let settled = count("SELECT count(*) FROM p99.payment WHERE status IN (2, 3, 6)");
    for part in ["sec >= 0", "sec < 0"] {
        let rolled = format!("SELECT COALESCE(sum(n), 0) FROM p99.rollup WHERE {part}");
        let rolled = count(&rolled);
        if settled != rolled {
            table.broke("the rollup is equal to the rows", || {
                format!("{part}: {rolled}, {settled}")
            });
        }
    }
    if charged != settled {
        table.broke("every charge is known", || format!("{settled}, {charged}"));
    }
    table.row("claims asked", asked);
    table.row("claims won", believed.len());
    table.row("charged", settled);
    table.row("batches in doubt", doubtful);
    table.row("faults of connections", faults);
}
