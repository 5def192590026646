//! What the simulated processor does with a request that was read in full, in the order that
//! its contract gives: wait the delay, fail if failure is on, insert, answer. `connection` calls
//! it; a payment's work runs as a task of its own, so a caller that goes away stops nothing.
//!
//! State is shared with the thread that holds the handle through one mutex, which is never held
//! over an await. Chooses statuses; never touches a socket.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::Deserialize;

use rustls::ServerConfig;

use super::faults::{self, Act, Fault, Misfit, Moment, Route, Script};
use super::pauses::{Pauses, Stopped};
use super::permits::{Admission, HealthPermits, Places};
use super::reply::Reply;
use super::request::{Admin, Call};
use super::socket::Gate;
use super::store::{Inserted, Store};
use super::wire::{self, Fee, Order};
use super::{Deciding, SimulatorOptions};
use crate::clock::Clock;
use crate::sim::SIM_HEALTH_WINDOW;
use crate::sim::SIM_LOG_MAX;

/// All that the processor knows. Tests read and change it through the handle.
#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) places: Places,
    pub(super) script: Script,
    /// What was read in full, in its order; bounded.
    pub(super) log: Vec<Order>,
    pub(super) delay_ms: u64,
    pub(super) failing: bool,
    health: HealthPermits,
    token: String,
    fee: Fee,
    deciding: Deciding,
}

impl State {
    pub(super) fn new(options: &SimulatorOptions) -> Self {
        Self {
            store: Store::default(),
            places: Places::default(),
            script: Script::default(),
            log: Vec::new(),
            delay_ms: 0,
            failing: false,
            health: HealthPermits::new(options.health_window),
            token: options.token.clone(),
            fee: options.fee,
            deciding: options.deciding,
        }
    }

    /// A payment was read in full.
    pub(super) fn note(&mut self, order: Order) {
        self.store.note_attempt(order.id);
        if self.log.len() < SIM_LOG_MAX {
            self.log.push(order);
        }
    }

    /// Forgets all payments.
    pub(super) fn purge(&mut self) {
        self.store.purge();
        self.log.clear();
    }

    /// Replaces the script, or leaves it as it was when one of the faults does not fit.
    pub(super) fn replace_script(&mut self, faults: &[Fault]) -> Result<(), Misfit> {
        let mut script = Script::default();
        for fault in faults {
            script.add(*fault)?;
        }
        self.script = script;
        Ok(())
    }

    /// The steps after the delay.
    fn charge(&mut self, order: Order) -> Reply {
        if self.failing {
            return Reply::new(500, wire::message("payment could not be processed"));
        }
        if self.deciding == Deciding::ByParity && order.id.0 % 2 == 1 {
            return bad_request();
        }
        match self
            .store
            .insert(order.id, order.amount, order.requested_at)
        {
            Inserted::Stored => Reply::new(200, wire::message("payment processed successfully")),
            Inserted::Existing => Reply::new(
                422,
                wire::message("payment could not be processed: it exists already"),
            ),
            Inserted::NoRoom => Reply::new(500, wire::message("no room for another row")),
        }
    }
}

/// The state as both threads share it.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The processor, on its own thread.
#[derive(Debug)]
pub(super) struct Processor {
    pub(super) shared: Shared,
    pub(super) gate: Arc<Gate>,
    /// What it shows over TLS.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) pauses: Rc<Pauses>,
    clock: Clock,
    /// Payments that wait for a place, the one that came first in front.
    turns: RefCell<VecDeque<Rc<Turn>>>,
}

impl Processor {
    pub(super) fn new(shared: Shared, gate: Arc<Gate>, tls: Option<Arc<ServerConfig>>) -> Self {
        let clock = Clock::new(Clock::process_start());
        Self {
            shared,
            gate,
            tls,
            pauses: Rc::default(),
            clock,
            turns: RefCell::default(),
        }
    }

    /// What the script says to this request at this moment.
    pub(super) fn strike(&self, moment: Moment, route: Option<Route>) -> Option<Act> {
        self.shared.lock().script.strike(moment, route)
    }

    /// Works on anything but a payment.
    pub(super) async fn work(
        &self,
        call: Call,
        token: Option<&str>,
        body: &[u8],
    ) -> Result<Reply, Stopped> {
        Ok(match call {
            // `connection` takes payments to `pay`, because they are tasks of their own.
            Call::Pay => bad_request(),
            Call::Lookup(id) => match self.shared.lock().store.find(id) {
                Some(row) => Reply::new(200, wire::found(row)),
                None => Reply::empty(404),
            },
            Call::Health => self.health().await?,
            Call::Ready => Reply::empty(200),
            Call::Admin(admin) => self.admin(admin, token, body),
            Call::WrongMethod => Reply::empty(405),
            Call::Unknown => Reply::empty(404),
        })
    }

    fn admin(&self, admin: Admin, token: Option<&str>, body: &[u8]) -> Reply {
        let mut state = self.shared.lock();
        if token != Some(state.token.as_str()) {
            return Reply::empty(401);
        }
        let reply = state.administer(admin, body);
        if let (Admin::Refusing, Some(_)) = (admin, &reply)
            && let Some(ms) = wire::read_field("ms", body)
        {
            self.gate.refuse();
            let (gate, pauses) = (Arc::clone(&self.gate), Rc::clone(&self.pauses));
            monoio::spawn(async move {
                if pauses.sleep(faults::span(ms)).await.is_ok() {
                    // It fails when another client took the port, which its reserve rules out.
                    let _ = gate.reopen();
                }
            });
        }
        reply.unwrap_or_else(bad_request)
    }

    async fn health(&self) -> Result<Reply, Stopped> {
        let permit = self.shared.lock().health.enter(self.clock.now().mono);
        let Some(wait) = permit else {
            return Ok(too_many());
        };
        self.pauses.sleep(wait).await?;
        let state = self.shared.lock();
        let body = wire::health(state.failing, state.delay_ms);
        Ok(Reply::new(200, body))
    }

    /// Works on one payment to the end, whether its client still listens or not.
    pub(super) async fn pay(
        self: Rc<Self>,
        order: Order,
        hang: Duration,
    ) -> Result<Reply, Stopped> {
        self.pauses.sleep(hang).await?;
        let admission = self.shared.lock().places.enter();
        match admission {
            Admission::Run => {}
            Admission::Queue => self.turn().await?,
            Admission::Refuse => return Ok(too_many()),
        }
        let delay = faults::span(self.shared.lock().delay_ms);
        self.pauses.sleep(delay).await?;
        let (reply, is_next) = {
            let mut state = self.shared.lock();
            (state.charge(order), state.places.leave())
        };
        if is_next && let Some(turn) = self.turns.borrow_mut().pop_front() {
            turn.grant();
        }
        Ok(reply)
    }

    /// Waits for a place.
    async fn turn(&self) -> Result<(), Stopped> {
        let turn = Rc::new(Turn::default());
        self.turns.borrow_mut().push_back(Rc::clone(&turn));
        let is_granted = |context: &mut Context<'_>| {
            if turn.is_granted.get() {
                return Poll::Ready(());
            }
            turn.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        };
        self.pauses.until(is_granted).await
    }
}

impl State {
    /// An admin call with the right token; `None` is 400.
    fn administer(&mut self, admin: Admin, body: &[u8]) -> Option<Reply> {
        match admin {
            Admin::Summary(window) => Some(Reply::new(
                200,
                wire::summary(self.store.totals(window?), self.fee),
            )),
            Admin::Rows => Some(Reply::new(200, wire::rows(self.store.rows()))),
            Admin::Purge => {
                self.purge();
                Some(Reply::new(200, wire::message("All payments purged.")))
            }
            Admin::Token => {
                self.token = wire::read_field("token", body)?;
                Some(Reply::empty(204))
            }
            Admin::Delay => {
                let is = wire::read_field("delay", body)?;
                let was = std::mem::replace(&mut self.delay_ms, is);
                Some(Reply::new(200, wire::changed("delay", was, is)))
            }
            Admin::Failure => {
                let is = wire::read_field("failure", body)?;
                let was = std::mem::replace(&mut self.failing, is);
                Some(Reply::new(200, wire::changed("failure", was, is)))
            }
            Admin::Faults => {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Faults {
                    faults: Vec<Fault>,
                }
                let new: Faults = serde_json::from_slice(body).ok()?;
                let was = self.script.len();
                self.replace_script(&new.faults).ok()?;
                Some(Reply::new(
                    200,
                    wire::changed("faults", was, self.script.len()),
                ))
            }
            Admin::Refusing => {
                let ms: u64 = wire::read_field("ms", body)?;
                Some(Reply::new(200, wire::changed("refusing", 0, ms)))
            }
            Admin::ListFaults => {
                let list: Vec<_> = self.script.list().collect();
                Some(Reply::new(200, serde_json::to_vec(&list).ok()?))
            }
        }
    }
}

/// One payment's wait for a place.
#[derive(Debug, Default)]
struct Turn {
    is_granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Turn {
    fn grant(&self) {
        self.is_granted.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// 400 for what could not be read.
pub(super) fn bad_request() -> Reply {
    Reply::new(400, wire::message("the request could not be read"))
}

fn too_many() -> Reply {
    let seconds = u32::try_from(SIM_HEALTH_WINDOW.as_secs()).unwrap_or(5);
    Reply::new(429, wire::message("too many requests")).after(seconds)
}
