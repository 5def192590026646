//! Clients: one that asks and keeps what it was told, and pairs of them that pay at both shards and
//! send each id at once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use p99::testing::payment::{Cents, UpstreamId};

use crate::kit::client::{Answer, Client, write_get, write_payment};
use crate::kit::dice::Dice;

use super::stand::Stand;

/// Pairs of clients at each shard.
const PAIRS: usize = 3;
/// More than any story pays at one shard.
const IDS: usize = 1_000;
/// Ids that are sent once more while a story goes on are among so many of a pair's last.
const RECENT: usize = 60;
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client was told, and how long that took. Status 0 is no answer.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) took: Duration,
    pub(super) body: String,
    retry_after: Option<String>,
}

impl Said {
    /// Of the body of an error, what it says there.
    pub(super) fn problem(&self, name: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        value[name].as_str().unwrap_or_default().to_owned()
    }

    /// What any answer must keep to.
    pub(super) fn check(&self) {
        assert!(self.status != 503 || self.retry_after.is_some(), "{self:?}");
        if self.status >= 400 && self.problem("detail").contains("no instance") {
            assert_eq!(self.problem("charged"), "unknown", "{self:?}");
        }
    }
}

/// A client on a connection that it makes anew when it must.
#[derive(Debug)]
pub(super) struct Caller {
    address: SocketAddr,
    client: Option<Client>,
}

impl Caller {
    pub(super) const fn new(address: SocketAddr) -> Self {
        let client = None;
        Self { address, client }
    }

    /// Sent a second time where the connection turns out to be stale.
    pub(super) fn get(&mut self, path: &str) -> Said {
        let mut request = Vec::new();
        write_get(path, &mut request);
        let said = self.send(&request);
        if said.status == 0 {
            self.send(&request)
        } else {
            said
        }
    }

    /// Sent once, whatever comes of it.
    pub(super) fn pay(&mut self, id: UpstreamId, amount: Cents) -> Said {
        let mut request = Vec::new();
        write_payment(&id.to_string(), amount, &mut request);
        self.send(&request)
    }

    fn send(&mut self, request: &[u8]) -> Said {
        let began = Instant::now();
        let answer = self.try_send(request);
        let took = began.elapsed();
        match answer {
            Ok(answer) => {
                if answer.is_last() {
                    self.client = None;
                }
                Said {
                    status: answer.status,
                    took,
                    retry_after: answer.field("Retry-After").map(str::to_owned),
                    body: answer.body,
                }
            }
            Err(_) => {
                self.client = None;
                Said {
                    status: 0,
                    took,
                    retry_after: None,
                    body: String::new(),
                }
            }
        }
    }

    fn try_send(&mut self, request: &[u8]) -> io::Result<Answer> {
        if self.client.is_none() {
            let client = Client::try_connect(self.address)?;
            client.set_patience(PATIENCE);
            self.client = Some(client);
        }
        let client = self.client.as_mut().expect("it was just made");
        client.exchange(request)
    }
}

/// One payment, and all that was said to it.
#[derive(Debug)]
pub(super) struct Paid {
    pub(super) shard: usize,
    pub(super) amount: Cents,
    pub(super) said: Vec<Said>,
}

/// What all clients were told.
#[derive(Debug, Default)]
struct Told {
    payments: Mutex<HashMap<UpstreamId, Paid>>,
    is_over: AtomicBool,
}

impl Told {
    fn send(&self, caller: &mut Caller, id: UpstreamId, amount: Cents) {
        let said = caller.pay(id, amount);
        let mut payments = self.payments.lock().expect("no client panicked");
        payments.get_mut(&id).expect("it is known").said.push(said);
    }

    /// One pair's life.
    fn pay(&self, address: SocketAddr, shard: usize, ids: Vec<UpstreamId>, mut dice: Dice) {
        let [mut first, mut second] = [Caller::new(address), Caller::new(address)];
        let mut recent = VecDeque::with_capacity(RECENT);
        for id in ids {
            thread::sleep(Duration::from_micros(dice.below(30_000)));
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let amount = Cents(1 + dice.below(9_999));
            let said = Vec::new();
            let paid = Paid {
                shard,
                amount,
                said,
            };
            let mut payments = self.payments.lock().expect("no client panicked");
            payments.insert(id, paid);
            drop(payments);
            thread::scope(|scope| {
                scope.spawn(|| self.send(&mut second, id, amount));
                self.send(&mut first, id, amount);
            });
            if recent.len() == RECENT {
                recent.pop_front();
            }
            recent.push_back((id, amount));
            for _ in 0..2 {
                let place = usize::try_from(dice.below(recent.len() as u64)).expect("a place");
                let (id, amount) = recent[place];
                self.send(&mut first, id, amount);
            }
        }
    }
}

/// The clients at both shards while something happens.
#[derive(Debug)]
pub(super) struct Crowd {
    told: Arc<Told>,
    address: SocketAddr,
    pairs: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// They have paid for a second when this returns.
    pub(super) fn start(stand: &mut Stand<'_>) -> Self {
        let told = Arc::new(Told::default());
        let address = stand.haproxy.address;
        let mut pairs = Vec::new();
        for shard in [1, 2] {
            let ids = stand.ids(shard, IDS);
            for (pair, ids) in (0_u64..).zip(ids.chunks(IDS / PAIRS)) {
                let (told, ids) = (Arc::clone(&told), ids.to_vec());
                let dice = Dice::new(u64::from(address.port()) << 8 | pair << 4 | shard as u64);
                pairs.push(thread::spawn(move || told.pay(address, shard, ids, dice)));
            }
        }
        thread::sleep(Duration::from_secs(1));
        Self {
            told,
            address,
            pairs,
        }
    }

    /// Ends the pairs a second from now.
    pub(super) fn end(&mut self) {
        thread::sleep(Duration::from_secs(1));
        self.told.is_over.store(true, Ordering::Relaxed);
        for pair in self.pairs.drain(..) {
            pair.join().expect("a pair of clients");
        }
    }

    /// Every id once more.
    pub(super) fn repeat(&self) {
        let mut caller = Caller::new(self.address);
        let known: Vec<_> = {
            let payments = self.told.payments.lock().expect("no client panicked");
            let known = payments.iter().map(|(id, paid)| (*id, paid.amount));
            known.collect()
        };
        for (id, amount) in known {
            self.told.send(&mut caller, id, amount);
        }
    }

    /// What became of it all.
    pub(super) fn payments(self) -> HashMap<UpstreamId, Paid> {
        let told = Arc::into_inner(self.told).expect("all clients are gone");
        told.payments.into_inner().expect("no client panicked")
    }
}

/// How often the clients of `shard` were told each status.
pub(super) fn statuses(payments: &HashMap<UpstreamId, Paid>, shard: usize) -> BTreeMap<u16, u32> {
    let mut counts = BTreeMap::new();
    for paid in payments.values().filter(|paid| paid.shard == shard) {
        for said in &paid.said {
            *counts.entry(said.status).or_default() += 1;
        }
    }
    counts
}
