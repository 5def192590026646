//! Both processors behind their liars, and the names under which p99 finds them. Names move: to a
//! fresh address with the old one dead, or the two change places.
//!
//! The hosts file is written in place and keeps its length, so that a reader never sees half of it.
//! Every address is one of 127.0.0.0/8, all with one port, because a URL has one.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use p99::testing::sim::{Simulator, SimulatorHandle, SimulatorOptions, Window};

use super::audit::Evidence;
use super::client::{Client, get, write_payment};
use super::liar::{Liar, Mood, WELL};
use super::listener::Listener;
use super::operator::{KEY, NOTE};
use super::process::Plan;
use super::report::Report;
use super::scratch::Scratch;
use super::states;
use super::told::{Amount, Told, Word};

/// Longest pause between two tries of a payment is 30 s; after it, one more and an answer.
const SETTLE_MAX: Duration = Duration::from_secs(100);
const SETTLE_AGAIN_MAX: Duration = Duration::from_secs(10);
/// New payments when all is over.
const PROBES: u32 = 400;

const NAMES: [&str; 2] = ["proc-a.test", "proc-b.test"];

pub(crate) struct Side {
    pub(crate) processor: SimulatorHandle,
    pub(crate) liar: Arc<Liar>,
    listener: Listener,
}

pub(crate) struct World {
    pub(crate) sides: [Side; 2],
    hosts: Option<File>,
    /// Where p99 hears its operator, who knows that every name is right in the end.
    pub(crate) operator: Option<SocketAddr>,
    port: u16,
    /// The last part of the last address that was given out.
    last: u16,
}

impl World {
    /// With `hosts` the processors have names, which that file explains.
    pub(crate) fn start(seed: u64, hosts: Option<&Path>) -> io::Result<Self> {
        let mut port = 0;
        let mut side = |index: u16| -> io::Result<Side> {
            let processor = Simulator::start(SimulatorOptions::default())?;
            let liar = Liar::start(processor.address(), seed ^ (u64::from(index) << 60));
            let listener = Listener::open(&liar, address(index, port))?;
            port = listener.address().port();
            Ok(Side {
                processor,
                liar,
                listener,
            })
        };
        let sides = [side(0)?, side(1)?];
        let hosts = hosts.map(|path| File::options().write(true).create_new(true).open(path));
        let world = Self {
            sides,
            hosts: hosts.transpose()?,
            operator: None,
            port,
            last: 1,
        };
        world.write_names()?;
        Ok(world)
    }

    pub(crate) fn urls(&self) -> [String; 2] {
        [0, 1].map(|index: usize| match self.hosts {
            Some(_) => format!("http://{}:{}", NAMES[index], self.port),
            None => format!("http://{}", self.sides[index].listener.address()),
        })
    }

    /// How to start p99 between its clients and these two.
    pub(crate) fn plan(&self, binary: PathBuf, scratch: &Scratch) -> Plan {
        let mut plan = Plan::new(binary, scratch);
        let [a, b] = self.urls();
        plan.set("UPSTREAM_A_URL", a);
        plan.set("UPSTREAM_B_URL", b);
        plan
    }

    /// Both processors answer after this time.
    pub(crate) fn set_delays(&self, delays: [Duration; 2]) {
        for (side, delay) in self.sides.iter().zip(delays) {
            side.processor.set_delay(delay);
        }
    }

    fn write_names(&self) -> io::Result<()> {
        let Some(hosts) = &self.hosts else {
            return Ok(());
        };
        let mut text = format!("{:<15} localhost\n", "127.0.0.1");
        for (side, name) in self.sides.iter().zip(NAMES) {
            text += &format!("{:<15} {name}\n", side.listener.address().ip().to_string());
        }
        hosts.write_all_at(text.as_bytes(), 0)
    }

    fn open_at(&mut self, index: usize, at: SocketAddr) -> io::Result<Listener> {
        let fresh = Listener::open(&self.sides[index].liar, at)?;
        Ok(std::mem::replace(&mut self.sides[index].listener, fresh))
    }

    /// The name of one side gets a fresh address; the old one is dead, before or afterwards.
    pub(crate) fn move_one(&mut self, index: usize, is_dead_first: bool) -> io::Result<()> {
        self.last += 1;
        let at = address(self.last, self.port);
        if is_dead_first {
            self.sides[index].listener.close();
            self.sides[index].listener.cut();
            thread::sleep(Duration::from_millis(200));
        }
        let old = self.open_at(index, at)?;
        self.write_names()?;
        drop(old);
        Ok(())
    }

    /// Both change places. Both listeners close first; then either the names change before the last
    /// connection ends, or long after it, and then it takes longer than UPSTREAM_RESOLVE_SECS until
    /// there is a listener again. In between, no name ever leads to the wrong processor.
    pub(crate) fn swap(&mut self, is_slow: bool) -> io::Result<()> {
        let at = [0, 1].map(|index: usize| self.sides[index].listener.address());
        for side in &mut self.sides {
            side.listener.close();
        }
        let swapped = format!(
            "{:<15} localhost\n{:<15} {}\n{:<15} {}\n",
            "127.0.0.1",
            at[1].ip().to_string(),
            NAMES[0],
            at[0].ip().to_string(),
            NAMES[1]
        );
        let cut = |world: &Self| world.sides.iter().for_each(|side| side.listener.cut());
        if is_slow {
            cut(self);
            thread::sleep(Duration::from_millis(200));
        }
        if let Some(hosts) = &self.hosts {
            hosts.write_all_at(swapped.as_bytes(), 0)?;
        }
        if is_slow {
            thread::sleep(Duration::from_millis(2_500));
        } else {
            cut(self);
        }
        // A socket that is closed but not gone would keep its address.
        let free = |world: &mut Self, index: usize| {
            world.last += 1;
            let nowhere = address(world.last, world.port);
            world.open_at(index, nowhere).map(drop)
        };
        free(self, 0)?;
        free(self, 1)?;
        self.open_at(0, at[1])?;
        self.open_at(1, at[0])?;
        Ok(())
    }

    pub(crate) fn set(&self, moods: [Mood; 2]) {
        for (side, mood) in self.sides.iter().zip(moods) {
            side.liar.set(mood);
        }
    }

    /// All faults are over: waits until everything is settled, pays a little more, which must go
    /// well, and reads the books.
    pub(crate) fn close(&self, evidence: &mut Evidence, report: &mut Report) {
        self.set([WELL, WELL]);
        let mut settled = self.settle(evidence.address, SETTLE_MAX);
        if settled.is_none()
            && let Some(operator) = self.operator
        {
            confirm(operator, report);
            settled = self.settle(evidence.address, SETTLE_MAX);
        }
        let settled =
            settled.map_or_else(|| "not".to_owned(), |span| format!("{} s", span.as_secs()));
        report.row("settled after the last fault", settled);
        probe(evidence, report);
        self.settle(evidence.address, SETTLE_AGAIN_MAX);
        evidence.books = self.sides.each_ref().map(|side| side.processor.rows());
        self.tell_faults(report);
    }

    /// How long it took, if nothing is left to settle.
    fn settle(&self, at: SocketAddr, most: Duration) -> Option<Duration> {
        let began = Instant::now();
        let (mut quiet, mut equal) = (0, 0);
        // A ledger that differs at last is the auditor's to judge.
        while equal < 3 && quiet < 20 && began.elapsed() < most {
            thread::sleep(Duration::from_millis(200));
            quiet = if self.is_quiet(at) { quiet + 1 } else { 0 };
            equal = if quiet > 0 && self.is_equal(at) {
                equal + 1
            } else {
                0
            };
        }
        (quiet > 0).then(|| began.elapsed())
    }

    /// Nothing is on its way to a processor, and p99 calls nothing pending.
    fn is_quiet(&self, at: SocketAddr) -> bool {
        let is_idle = |side: &Side| side.liar.owed() == 0 && side.processor.in_flight() == (0, 0);
        if !self.sides.iter().all(is_idle) {
            return false;
        }
        let page = get(self.operator.unwrap_or(at), "/metrics").map(|answer| answer.body);
        let page = page.unwrap_or_default();
        let is_none = |line: &str| line == "p99_payments_pending 0";
        page.lines().any(is_none)
    }

    fn is_equal(&self, at: SocketAddr) -> bool {
        let books = self.sides.each_ref().map(|side| {
            let totals = side.processor.totals(Window::default());
            (totals.count, totals.cents)
        });
        states::ask_summary(at, "") == Ok(books)
    }

    fn tell_faults(&self, report: &mut Report) {
        for (side, name) in self.sides.iter().zip(["A", "B"]) {
            let struck = side.liar.struck();
            let all: u64 = struck.values().sum();
            let kinds: Vec<_> = struck
                .iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect();
            report.row(
                format!("lies of {name}"),
                format!("{all}: {}", kinds.join(", ")),
            );
        }
    }
}

/// What is in doubt since a name moved may only wait for a word of a person.
fn confirm(operator: SocketAddr, report: &mut Report) {
    for name in ["default", "fallback"] {
        let line = format!("POST /admin/processors/{name}/confirm");
        let fields = format!("{KEY}Content-Type: application/json\r\n");
        let answer = Client::connect(operator).call(&line, &fields, NOTE);
        report.row(format!("{name} confirmed by a person"), answer.status);
    }
}

/// All is well: new payments must be taken, every one.
fn probe(evidence: &mut Evidence, report: &mut Report) {
    let Ok(mut client) = Client::try_connect(evidence.address) else {
        return;
    };
    let mut taken = 0;
    for number in evidence.count..evidence.count + PROBES {
        let now_ms = || {
            let now = jiff::Timestamp::now().as_millisecond() - evidence.began;
            u32::try_from(now).expect("a run is shorter than 49 days")
        };
        let amount = Amount::Usual;
        let mut request = Vec::new();
        let id = evidence.numbers.id(number).to_string();
        write_payment(&id, evidence.numbers.amount(number, amount), &mut request);
        let sent_ms = now_ms();
        let answer = client.exchange(&request);
        let word = answer.map_or(Word::Silence, |answer| Word::of(&answer, amount));
        taken += u32::from(word.is_acknowledged());
        evidence.told.push(Told {
            number,
            word,
            amount,
            sent_ms,
        });
    }
    evidence.count += PROBES;
    report.row(
        "new payments taken afterwards",
        format!("{taken} of {PROBES}"),
    );
    if taken < PROBES {
        report.broke("all is well again afterwards", || {
            format!("{taken} of {PROBES}")
        });
    }
}

/// The `index`-th address of this run.
fn address(index: u16, port: u16) -> SocketAddr {
    let [high, low] = index.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 77, high, low + 1), port))
}

/// Whether this machine lets a process have a hosts file of its own.
pub(crate) fn may_cover_hosts() -> bool {
    Command::new("unshare")
        .args(["--mount", "--propagation", "private", "mount", "--bind"])
        .args(["/etc/hosts", "/etc/hosts"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
