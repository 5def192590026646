//! Two processors, two shards with journals and HAProxy before them, ready when it is made.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use p99::testing::payment::UpstreamId;
use p99::testing::sim::SimulatorHandle;

use crate::balancer::Balancer;
use crate::kit::client::Client;
use crate::kit::dice::Dice;
use crate::kit::process::{P99, Plan};
use crate::kit::scratch::Scratch;
use crate::kit::stack;

use super::crowd::{Caller, Said};

/// As compose.yaml has them; a breaker heals sooner, and RATE_LIMIT_RPS needs to believe HAProxy.
const SETTINGS: [(&str, &str); 8] = [
    ("JOURNAL_SYNC", "os"),
    ("ROUTING", "cheapest"),
    ("REQUEST_TIMEOUT_MS", "500"),
    ("CORES", "1"),
    ("CB_OPEN_SECS", "1"),
    ("DRAIN_DELAY_MS", "1000"),
    ("SHUTDOWN_GRACE_SECS", "1"),
    ("TRUSTED_PROXIES", "127.0.0.0/8"),
];

/// One shard, living or not.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) plan: Plan,
    p99: Option<P99>,
}

impl Shard {
    /// Starts it, and waits for nothing.
    pub(super) fn spawn(&mut self) {
        self.p99 = Some(P99::spawn(&self.plan).expect("p99 can be started"));
    }

    pub(super) fn start(&mut self) {
        self.spawn();
        self.await_ready();
    }

    fn await_ready(&mut self) {
        let ready = self.living().await_ready();
        ready.expect("it takes payments");
    }

    pub(super) fn living(&mut self) -> &mut P99 {
        self.p99.as_mut().expect("it was started")
    }

    /// A clean stop.
    pub(super) fn stop(&mut self) {
        let p99 = self.p99.take().expect("it was started");
        assert_eq!(p99.stop(), Some(0), "a clean stop");
    }

    pub(super) fn kill(&mut self) {
        let p99 = self.p99.take().expect("it was started");
        p99.kill().expect("it lived until now");
    }

    pub(super) fn restart(&mut self) {
        self.stop();
        self.start();
    }
}

pub(super) struct Stand<'a> {
    pub(super) scratch: &'a Scratch,
    /// The cheap one, and the other one.
    pub(super) processors: [SimulatorHandle; 2],
    pub(super) shards: [Shard; 2],
    pub(super) haproxy: Balancer,
    dice: Dice,
    /// Ids of each shard that were never used.
    spare: [Vec<UpstreamId>; 2],
}

impl<'a> Stand<'a> {
    pub(super) fn start(
        binary: &Path,
        scratch: &'a Scratch,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let secret = scratch.file("peer-secret");
        fs::write(&secret, "what the shards show each other\n").expect("a file");
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("its owner");
        let processors = stack::processors();
        let plans = [1, 2].map(|number| {
            let mut plan = Plan::new(binary.to_owned(), scratch);
            plan.log = scratch.file(&format!("p99-{number}.log"));
            plan.set("UPSTREAM_A_URL", processors[0].url());
            plan.set("UPSTREAM_B_URL", processors[1].url());
            plan.set("PEER_SECRET_FILE", secret.display());
            plan.set("JOURNAL_DIR", journal(scratch, &number.to_string()));
            plan.set("SHARD", format!("{number}/2"));
            for (name, value) in SETTINGS.iter().chain(settings) {
                plan.set(name, value);
            }
            plan
        });
        let peers = [1, 0].map(|other| format!("http://{}", plans[other as usize].address));
        let [first, second] = plans;
        let mut shards = [first, second].map(|plan| Shard { plan, p99: None });
        for (shard, peer) in shards.iter_mut().zip(peers) {
            shard.plan.set("PEERS", peer);
            shard.spawn();
        }
        for shard in &mut shards {
            shard.await_ready();
        }
        let addresses = [shards[0].plan.address, shards[1].plan.address];
        let haproxy = Balancer::start(addresses, &scratch.file("haproxy.log")).expect("haproxy");
        let stand = Self {
            scratch,
            processors,
            shards,
            haproxy,
            dice: Dice::new(jiff::Timestamp::now().as_microsecond().unsigned_abs()),
            spare: [Vec::new(), Vec::new()],
        };
        stand.await_up();
        stand
    }

    pub(super) fn await_up(&self) {
        self.haproxy.await_states(["UP", "UP"]);
    }

    /// Another instance with the settings of the first one, but for these: not started.
    pub(super) fn another(&self, name: &str, settings: &[(&'static str, &str)]) -> Plan {
        let mut plan = self.shards[0].plan.clone();
        plan.address = crate::kit::process::free_address().expect("a port");
        plan.log = self.scratch.file(&format!("{name}.log"));
        for (name, value) in settings {
            plan.set(name, value);
        }
        plan
    }

    /// Ids that were never used of shard 1 or 2, as shard 1 says itself.
    pub(super) fn ids(&mut self, shard: usize, count: usize) -> Vec<UpstreamId> {
        let mut client = Client::connect(self.shards[0].plan.address);
        let place = shard - 1;
        while self.spare[place].len() < count {
            let halves = [self.dice.next(), self.dice.next()].map(u128::from);
            let id = UpstreamId(halves[0] << 64 | halves[1]);
            // Another client each time, because of rate limits.
            let from = Ipv4Addr::from_bits(self.dice.next() as u32);
            let fields = format!("X-Forwarded-For: {from}\r\n");
            let status = client
                .call(&format!("GET /payments/{id}"), &fields, "")
                .status;
            assert!(matches!(status, 404 | 421), "{status}");
            self.spare[usize::from(status == 421)].push(id);
        }
        self.spare[place].split_off(self.spare[place].len() - count)
    }

    /// A client of HAProxy.
    pub(super) fn caller(&self) -> Caller {
        Caller::new(self.haproxy.address)
    }

    /// A GET through HAProxy, patient with a rate limit.
    pub(super) fn ask(&self, path: &str) -> Said {
        loop {
            let said = self.caller().get(path);
            if said.status != 429 {
                return said;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Both processors are well.
    pub(super) fn heal(&self) {
        for processor in &self.processors {
            processor.clear_faults();
            processor.set_delay(Duration::ZERO);
            processor.set_failing(false);
            processor.set_refusing(false).expect("its port");
        }
    }
}

/// The journal directory of a shard.
pub(super) fn journal(scratch: &Scratch, name: &str) -> String {
    let folder = scratch.file(&format!("journal-{name}"));
    fs::create_dir_all(&folder).expect("a folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("its owner");
    folder.display().to_string()
}

/// So many addresses at which nothing listens, as PEERS has them.
pub(super) fn peers_away(count: usize) -> String {
    let address = |_| crate::kit::process::free_address().expect("a port");
    let urls = (0..count)
        .map(address)
        .map(|at: SocketAddr| format!("http://{at}"));
    urls.collect::<Vec<_>>().join(",")
}
