//! Where log lines go: to stderr, by way of one thread that may block on it.
//!
//! A core formats its line (`line`) and puts it into a bounded queue; it never waits for a slow
//! terminal or a container engine whose log driver is stuck. What does not fit is counted and
//! dropped, because a late payment is worse than a missing line. Only while stopping, when each
//! payment that is given up must be told, [`be_patient`] makes lines wait for room. Until then a
//! place in the code may log so many lines at warn and error, and so many about payments for each
//! reason; the rest is counted (`throttle`).
//!
//! `main` starts it; every room logs through the `log` macros. What is let through may change while
//! p99 runs ([`set_filter`]). Secrets are `config::Secret`s, which print as a mask. The queue, like
//! the `log` facade's logger, is one for the process; nothing else here is shared.

mod line;
mod throttle;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use env_filter::Filter;
use jiff::Timestamp;
use log::kv::Source;
use log::{Level, Log, Metadata, Record};

use crate::clock::{Clock, Mono, Start};
use crate::limits;

pub use line::Format;

use throttle::{Place, Throttle};

/// Lines that wait for stderr. A busy second logs tens of lines; 1,024 outlast a pause of the
/// reader of many seconds. With the next constant at most 2 MiB.
const LOG_LINES_MAX: usize = 1_024;
/// While stopping, how often a line waits for room in the queue, and how long each time: 2 s
/// without any progress mean that stderr is stuck.
const LOG_WAITS_MAX: u32 = 2_000;
/// See [`LOG_WAITS_MAX`].
const LOG_WAIT: Duration = Duration::from_millis(1);

static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);
static IS_PATIENT: AtomicBool = AtomicBool::new(false);
static THROTTLE: Mutex<Throttle> = Mutex::new(Throttle::new());
static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();
static FILTER: Mutex<Option<Filter>> = Mutex::new(None);

/// The target of lines about one payment each.
const PAYMENT: &str = "p99::payment";

enum Message {
    Line(Vec<u8>),
    /// All lines before it are written when this is answered.
    Flush(SyncSender<()>),
}

/// Begins to log what `filter` lets through, as `RUST_LOG` spells it.
///
/// # Errors
/// The filter cannot be read, the thread cannot be had, or someone logs already.
pub fn start(filter: &str, format: Format) -> io::Result<()> {
    let (sender, receiver) = sync_channel(LOG_LINES_MAX);
    let start = Clock::process_start();
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&receiver, start, format))?;
    let queue = Queue {
        sender: sender.clone(),
        dropped: &LINES_DROPPED,
        is_patient: &IS_PATIENT,
    };
    let gate = Gate {
        queue,
        format,
        start,
    };
    log::set_boxed_logger(Box::new(gate)).map_err(io::Error::other)?;
    set_filter(filter).map_err(io::Error::other)?;
    // Set once, for a logger can be set once.
    QUEUE.get_or_init(|| sender);
    Ok(())
}

/// Lets through what `filter` says from now on, as `RUST_LOG` spells it.
///
/// # Errors
/// Why it cannot be read; nothing changes.
pub(crate) fn set_filter(filter: &str) -> Result<(), String> {
    let mut builder = env_filter::Builder::new();
    builder
        .try_parse(filter)
        .map_err(|fault| fault.to_string())?;
    let filter = builder.build();
    let level = filter.filter();
    *self::filter() = Some(filter);
    log::set_max_level(level);
    Ok(())
}

/// Logs one line about a payment at info. Lines of one `reason` are counted together where there
/// are too many.
pub(crate) fn tell_of_payment(reason: &'static str, message: &str, fields: &dyn Source) {
    let args = format_args!("{message}");
    let mut builder = Record::builder();
    builder.level(Level::Info).target(PAYMENT);
    builder.module_path_static(Some(reason));
    log::logger().log(&builder.args(args).key_values(&fields).build());
}

/// Logs one line with fields at info.
pub(crate) fn tell(target: &'static str, message: &str, fields: &dyn Source) {
    let args = format_args!("{message}");
    let mut builder = Record::builder();
    builder.level(Level::Info).target(target);
    log::logger().log(&builder.args(args).key_values(&fields).build());
}

/// How many lines were dropped because the queue was full.
pub(crate) fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

/// From now on every line counts and waits for room in the queue, until stderr turns out to be
/// stuck. For the end of the process, when there is more to tell than fits and no one is kept
/// waiting any more.
pub(crate) fn be_patient() {
    IS_PATIENT.store(true, Ordering::Relaxed);
}

/// Waits, but not for ever, until all lines so far are written. For the end of the process.
pub fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let (done, is_done) = sync_channel(1);
    // A full queue means that stderr is stuck: then there is nothing to wait for.
    if queue.try_send(Message::Flush(done)).is_ok() {
        is_done
            .recv_timeout(limits::LOG_FLUSH_TIME_MAX)
            .unwrap_or_default();
    }
}

/// Before the lines: leaves out what one place logs too often.
struct Gate {
    queue: Queue,
    format: Format,
    start: Start,
}

impl Log for Gate {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        filter().as_ref().is_some_and(|one| one.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Below warn an operator has asked for it, or it is told once; but payments come in floods.
        let is_many = record.level() <= Level::Warn || record.target() == PAYMENT;
        let is_throttled = is_many && !IS_PATIENT.load(Ordering::Relaxed);
        let place = Place {
            module: record.module_path_static().unwrap_or_default(),
            line: record.line().unwrap_or_default(),
        };
        if !is_throttled || throttle().admit(place, since(self.start)) {
            let line = line::line_of(self.format, Timestamp::now(), record);
            self.queue.put(line.into_bytes());
        }
    }

    fn flush(&self) {}
}

/// Held for one look, and only for what the most talkative target lets through.
fn filter() -> MutexGuard<'static, Option<Filter>> {
    FILTER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn throttle() -> MutexGuard<'static, Throttle> {
    THROTTLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since(start: Start) -> Mono {
    Clock::new(start).now().mono
}

/// The cores' end of the queue.
struct Queue {
    sender: SyncSender<Message>,
    dropped: &'static AtomicU64,
    is_patient: &'static AtomicBool,
}

impl Queue {
    fn put(&self, line: Vec<u8>) {
        let mut message = Message::Line(line);
        let mut waits_left = LOG_WAITS_MAX;
        let is_sent = loop {
            match self.sender.try_send(message) {
                Ok(()) => break true,
                Err(TrySendError::Full(back)) if self.is_patient.load(Ordering::Relaxed) => {
                    if waits_left == 0 {
                        // Nothing was written for so long: the process must end all the same.
                        self.is_patient.store(false, Ordering::Relaxed);
                        break false;
                    }
                    waits_left -= 1;
                    message = back;
                    thread::sleep(LOG_WAIT);
                }
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => break false,
            }
        };
        if !is_sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread's work. When stderr is gone there is no one left to tell.
fn write_all(queue: &Receiver<Message>, start: Start, format: Format) {
    let mut told = 0;
    loop {
        let end = throttle().next_end();
        let message = match end {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(end) => queue.recv_timeout(end.since(since(start))),
        };
        let mut stderr = io::stderr().lock();
        let (written, now) = match message {
            Ok(Message::Line(line)) => (stderr.write_all(&line), since(start)),
            Ok(Message::Flush(done)) => {
                tell_left_out(&mut stderr, format, Mono(u64::MAX));
                done.try_send(()).unwrap_or_default();
                continue;
            }
            Err(RecvTimeoutError::Timeout) => (Ok(()), since(start)),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if end.is_some_and(|end| end <= now) {
            tell_left_out(&mut stderr, format, now);
        }
        let dropped = lines_dropped();
        if written.is_ok() && dropped > told {
            let more = dropped - told;
            warn(
                &mut stderr,
                format,
                &format!("{more} log lines dropped"),
                &[("count", more.into())],
            );
            told = dropped;
        }
    }
}

/// Tells what the windows that are over at `now` have left out.
fn tell_left_out(stderr: &mut impl Write, format: Format, now: Mono) {
    let left_out = throttle().end_windows(now);
    for (Place { module, line }, count) in left_out {
        let place = format!("{module}:{line}");
        let fields = [("count", count.into()), ("place", place.as_str().into())];
        warn(stderr, format, "lines left out", &fields);
    }
}

/// A line of this thread's own, past the queue.
fn warn(
    stderr: &mut impl Write,
    format: Format,
    message: &str,
    fields: &[(&str, log::kv::Value<'_>)],
) {
    let args = format_args!("{message}");
    let mut builder = Record::builder();
    builder.level(Level::Warn).target(module_path!());
    let record = builder.args(args).key_values(&fields).build();
    let line = line::line_of(format, Timestamp::now(), &record);
    stderr.write_all(line.as_bytes()).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        static IS_PATIENT: AtomicBool = AtomicBool::new(false);
        let (sender, receiver) = sync_channel(2);
        let queue = Queue {
            sender,
            dropped: &DROPPED,
            is_patient: &IS_PATIENT,
        };
        for number in 0..5 {
            queue.put(vec![number]);
        }
        assert_eq!(DROPPED.load(Ordering::Relaxed), 3);
        let kept = receiver.try_iter().count();
        assert_eq!(kept, 2);
        IS_PATIENT.store(true, Ordering::Relaxed);
        let reader = thread::spawn(move || receiver.iter().count());
        let before = DROPPED.load(Ordering::Relaxed);
        (0..50).for_each(|_| queue.put(vec![b'x']));
        drop(queue);
        assert_eq!(reader.join().unwrap(), 50, "all waited for room");
        assert_eq!(DROPPED.load(Ordering::Relaxed), before);
    }
}
