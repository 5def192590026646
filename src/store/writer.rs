//! One writer's task: performs what its machine wants on a connection to PostgreSQL, and tells the
//! core what came of it. It decides nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::exchange::{Question, Report};
use super::executor::Executor;
use super::machine::Machine;
use super::place::StorePlace;
use super::record::{Epoch, Record, WriterId};
use crate::clock::Boot;
use crate::journal::Haste;

/// The core's side: takes records. Clones are the same writer.
#[derive(Clone, Debug)]
pub struct Writer(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    machine: RefCell<Machine>,
    task: RefCell<Option<Waker>>,
}

/// The task's side.
#[derive(Debug)]
pub struct WriterTask {
    shared: Rc<Shared>,
    place: Rc<StorePlace>,
}

impl Writer {
    /// A writer and its task, on the thread of its core.
    #[must_use]
    pub fn new(machine: Machine, place: Rc<StorePlace>) -> (Self, WriterTask) {
        let shared = Rc::new(Shared {
            machine: RefCell::new(machine),
            task: RefCell::new(None),
        });
        let task = WriterTask {
            shared: Rc::clone(&shared),
            place,
        };
        (Self(shared), task)
    }

    /// As [`Machine::append`].
    pub fn append(&self, record: Record, haste: Haste) -> u64 {
        self.with(|machine| machine.append(record, haste))
    }

    /// As [`Machine::flush`].
    pub fn flush(&self) {
        self.with(Machine::flush);
    }

    /// As [`Machine::ask`].
    pub fn ask(&self, question: Question) -> u64 {
        self.with(|machine| machine.ask(question))
    }

    /// As [`Machine::adopt_one`], of this one alone.
    pub fn adopt(&self, writer: WriterId, epoch: Epoch) {
        self.with(|machine| machine.adopt_one(&[(writer, epoch)]));
    }

    /// As [`Machine::want_page`].
    pub fn want_page(&self) {
        self.with(Machine::want_page);
    }

    /// As [`Machine::close`].
    pub fn close(&self) {
        self.with(Machine::close);
    }

    /// As [`Machine::acknowledged`].
    #[must_use]
    pub fn acknowledged(&self) -> Option<Boot> {
        self.0.machine.borrow().acknowledged()
    }

    /// Looks at the machine.
    pub fn look<R>(&self, at: impl FnOnce(&Machine) -> R) -> R {
        at(&self.0.machine.borrow())
    }

    fn with<R>(&self, act: impl FnOnce(&mut Machine) -> R) -> R {
        let result = act(&mut self.0.machine.borrow_mut());
        let task = self.0.task.borrow_mut().take();
        if let Some(task) = task {
            task.wake();
        }
        result
    }
}

impl WriterTask {
    /// Writes until the machine ends, and tells `report` of everything. `report` may append. A
    /// fault of a host is handed to `fault` in words.
    pub async fn run(self, mut report: impl FnMut(Report), mut fault: impl FnMut(&str)) {
        let mut executor = Executor::new(Rc::clone(&self.place));
        loop {
            loop {
                let told = self.shared.machine.borrow_mut().next_report();
                let Some(told) = told else { break };
                report(told);
            }
            if self.shared.machine.borrow().has_ended() {
                return;
            }
            let command = self.shared.machine.borrow_mut().next(Boot::now());
            let Some(command) = command else {
                self.wait().await;
                continue;
            };
            let outcome = executor.perform(command).await;
            if let Some(why) = outcome.fault() {
                fault(why);
            }
            self.shared
                .machine
                .borrow_mut()
                .outcome(outcome, Boot::now());
        }
    }

    /// Waits until something is appended or asked, or the machine's own time has come.
    async fn wait(&self) {
        let now = Boot::now();
        let due = self.shared.machine.borrow().wake_at();
        let longest = due.map(|due| due.since(now));
        let mut timer = pin!(monoio::time::sleep(longest.unwrap_or(LONGEST)));
        let mut is_first = true;
        poll_fn(|context| {
            let was_woken = !std::mem::take(&mut is_first) && self.shared.task.borrow().is_none();
            if was_woken || timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            *self.shared.task.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        self.shared.task.borrow_mut().take();
    }
}

/// A wait without a time of its own.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(1);
