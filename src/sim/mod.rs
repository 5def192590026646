//! A payment processor to test and show p99 with: the same API, the same order of work and the
//! same odd habits as the real one (docs of the challenge), plus faults on demand.
//!
//! A wing outside the tower: it imports floors 0 to 2 only, and `main` and the tests alone import
//! it. It has readers and writers of its own, so that a mistake of p99's cannot hide in both ends.
//!
//! - `store` what is charged; `permits` how much work is taken on; `wire` JSON; `money` amounts;
//!   `request`, `reply` HTTP; `faults` the liar's script: all pure.
//! - `processor` the work; `sealed` TLS; `connection`, `socket` the kernel side, on one thread with
//!   an event loop of its own (epoll everywhere: its futures may be dropped at the stop, and a
//!   dozen simulators in one test use up no locked memory).

mod connection;
pub(crate) mod faults;
mod money;
mod pauses;
pub(crate) mod permits;
mod processor;
pub(crate) mod reply;
pub(crate) mod request;
mod sealed;
mod socket;
pub(crate) mod store;
pub(crate) mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use monoio::net::TcpListener;
use monoio::{LegacyDriver, RuntimeBuilder};
use rustls::ServerConfig;

pub use self::faults::{Act, Fault, Moment, Route};
pub(crate) use self::faults::{FaultId, Misfit};
pub use self::store::{Row, Window};
pub use self::wire::Fee;
pub(crate) use self::wire::Order;

use self::connection::Connection;
use self::processor::{Processor, Shared, State};
use self::socket::{Connections, Gate, Mode};
use crate::payment::{Totals, UpstreamId};

/// `Retry-After` of a 429, and the span in which service-health has one permit (the processor's
/// contract).
const SIM_HEALTH_WINDOW: Duration = Duration::from_secs(5);
/// Connections open at once: 1,300 requests of either processor's callers plus idle ones, several
/// times over. Beyond it a connection is closed at once.
const SIM_CONNECTIONS_MAX: usize = 8_192;
/// Payments kept in the order of their arrival, for tests of orders and re-sends: 48 bytes each.
const SIM_LOG_MAX: usize = 100_000;
/// While refusing connections the accept loop looks this often whether it may listen again.
const SIM_REFUSING_PAUSE: Duration = Duration::from_millis(1);
/// A stop looks this often, a millisecond apart, whether every task has ended; they need one turn
/// of the loop each. Beyond it their descriptors stay open until the process ends.
const SIM_STOP_LOOKS_MAX: u32 = 2_000;
/// Pause after a failed accept: at the descriptor limit accept fails at once, for ever.
const SIM_ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How a processor starts.
#[derive(Clone, Debug)]
pub struct SimulatorOptions {
    /// Where it listens; port 0 takes any free port.
    pub listen: SocketAddr,
    /// What it keeps of each payment.
    pub fee: Fee,
    /// The first value of `X-Rinha-Token`.
    pub token: String,
    /// The span in which service-health has one permit.
    pub health_window: Duration,
    /// Whom it charges.
    pub deciding: Deciding,
    /// What it shows over TLS; without it, it speaks as it is.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Whom a processor charges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deciding {
    /// Everybody, as the real one does.
    #[default]
    Everybody,
    /// Ids that are even as a number; odd ones get 400. Then each answer shows whose it is.
    ByParity,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            fee: Fee(50_000),
            token: "123".to_owned(),
            health_window: SIM_HEALTH_WINDOW,
            deciding: Deciding::Everybody,
            tls: None,
        }
    }
}

/// The simulator; see [`Simulator::start`].
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Starts a processor on a thread of its own. It listens when this returns.
    ///
    /// # Errors
    /// The address cannot be listened on, or the thread or its event loop cannot be had.
    pub fn start(options: SimulatorOptions) -> io::Result<SimulatorHandle> {
        let gate = Arc::new(Gate::open(options.listen)?);
        let shared = Shared::new(State::new(&options));
        let connections = Arc::new(Connections::default());
        let listening = Listening {
            acceptor: gate.acceptor()?,
            gate: Arc::clone(&gate),
            connections: Arc::clone(&connections),
            tls: options.tls.clone(),
        };
        let (started, is_started) = mpsc::channel();
        let state = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("sim-{}", gate.address().port()))
            .spawn(move || listening.run(state, &started))?;
        is_started.recv().map_err(io::Error::other)??;
        Ok(SimulatorHandle {
            shared,
            gate,
            connections,
            is_tls: options.tls.is_some(),
            thread: Some(thread),
        })
    }
}

/// A running processor. Dropping it stops it.
#[derive(Debug)]
pub struct SimulatorHandle {
    shared: Shared,
    gate: Arc<Gate>,
    connections: Arc<Connections>,
    is_tls: bool,
    thread: Option<JoinHandle<()>>,
}

impl SimulatorHandle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.gate.address()
    }

    /// The same as a URL for `UPSTREAM_A_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    /// Every payment from now on waits this long before its work.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.lock().delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    }

    /// Whether payments whose delay is over from now on get 500.
    pub fn set_failing(&self, failing: bool) {
        self.shared.lock().failing = failing;
    }

    /// `true`: connects are refused from now on, as if no process listened, until `false`. Open
    /// connections live on; see [`Self::reset_connections`].
    ///
    /// # Errors
    /// The port cannot be listened on again.
    pub fn set_refusing(&self, refusing: bool) -> io::Result<()> {
        if refusing {
            self.gate.refuse();
            return Ok(());
        }
        self.gate.reopen()
    }

    /// Resets every open connection. Work that they brought goes on.
    pub fn reset_connections(&self) {
        self.connections.reset_all();
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Adds a fault behind those that are set.
    ///
    /// # Errors
    /// The fault's act cannot happen at its moment, or there are too many.
    pub fn inject(&self, fault: Fault) -> Result<FaultId, Misfit> {
        self.shared.lock().script.add(fault)
    }

    /// How many requests a fault struck; 0 when it is set no more.
    #[must_use]
    pub fn struck(&self, fault: FaultId) -> u64 {
        self.shared.lock().script.struck(fault)
    }

    /// Drops all faults.
    pub fn clear_faults(&self) {
        self.shared.lock().script.clear();
    }

    /// Every charged payment, ordered by id.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.shared.lock().store.rows().collect();
        rows.sort_unstable_by_key(|row| row.id);
        rows
    }

    /// The row of one payment, if it was charged.
    #[must_use]
    pub fn find(&self, id: UpstreamId) -> Option<Row> {
        self.shared.lock().store.find(id)
    }

    /// Count and sum of the charged payments in `window`.
    #[must_use]
    pub fn totals(&self, window: Window) -> Totals {
        self.shared.lock().store.totals(window)
    }

    /// Requests for `id` that were read in full, whatever they were answered.
    #[must_use]
    pub fn attempts(&self, id: UpstreamId) -> u32 {
        self.shared.lock().store.attempts(id)
    }

    /// Every id that was asked for, charged or not, with its attempts, ordered by id.
    #[must_use]
    pub fn all_attempts(&self) -> Vec<(UpstreamId, u32)> {
        let mut all: Vec<_> = self.shared.lock().store.all_attempts().collect();
        all.sort_unstable();
        all
    }

    /// The payments that were read in full, in their order, duplicates included; at most the first
    /// `SIM_LOG_MAX` since the last purge.
    #[must_use]
    pub fn log(&self) -> Vec<Order> {
        self.shared.lock().log.clone()
    }

    /// Payments at work and waiting for a place.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.places.running(), state.places.queued())
    }

    /// Forgets all rows and attempts.
    pub fn purge(&self) {
        self.shared.lock().purge();
    }

    /// Stops it at once, as a kill does: connections are reset, and payments still in their delay
    /// are never charged.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.gate.stop();
        self.connections.reset_all();
        // A thread that panicked has nothing left to stop.
        let _ = thread.join();
    }
}

impl Drop for SimulatorHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the processor's thread takes along.
struct Listening {
    acceptor: std::net::TcpListener,
    gate: Arc<Gate>,
    connections: Arc<Connections>,
    tls: Option<Arc<ServerConfig>>,
}

impl Listening {
    fn run(self, shared: Shared, started: &Sender<io::Result<()>>) {
        let mut runtime = match RuntimeBuilder::<LegacyDriver>::new().enable_timer().build() {
            Ok(runtime) => runtime,
            Err(fault) => {
                let _ = started.send(Err(fault));
                return;
            }
        };
        runtime.block_on(async move {
            let listener = match TcpListener::from_std(self.acceptor) {
                Ok(listener) => listener,
                Err(fault) => {
                    let _ = started.send(Err(fault));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            let processor = Rc::new(Processor::new(shared, Arc::clone(&self.gate), self.tls));
            accept(&listener, &processor, &self.connections).await;
            processor.pauses.stop();
            self.connections.reset_all();
            for _ in 0..SIM_STOP_LOOKS_MAX {
                if self.connections.count() == 0 && processor.pauses.count() == 0 {
                    break;
                }
                monoio::time::sleep(SIM_REFUSING_PAUSE).await;
            }
        });
    }
}

async fn accept(listener: &TcpListener, processor: &Rc<Processor>, connections: &Arc<Connections>) {
    loop {
        let accepted = listener.accept().await;
        let pause = match processor.gate.mode() {
            Mode::Stopped => break,
            Mode::Refusing => SIM_REFUSING_PAUSE,
            Mode::Listening => SIM_ACCEPT_PAUSE,
        };
        let Ok((stream, _)) = accepted else {
            monoio::time::sleep(pause).await;
            continue;
        };
        if connections.count() >= SIM_CONNECTIONS_MAX {
            continue;
        }
        // Without it answers still arrive, only later.
        let _ = stream.set_nodelay(true);
        let connection = Connection::new(Rc::clone(processor), Arc::clone(connections), stream);
        monoio::spawn(connection.run());
    }
}
