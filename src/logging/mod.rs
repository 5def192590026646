//! Where log lines go: to stderr, by way of one thread that may block on it.
//!
//! A core formats its line and puts it into a bounded queue; it never waits for a slow terminal or
//! a container engine whose log driver is stuck. What does not fit is counted and dropped, because
//! a late payment is worse than a missing line. Only while stopping, when each payment that is
//! given up must be told, [`be_patient`] makes lines wait for room. Until then a place in the code
//! may log so many lines at warn and error, and the rest is counted (`throttle`).
//!
//! `main` starts it; every room logs through the `log` macros. Every line is cleared of control
//! characters, so no one can forge a second line. Secrets are `config::Secret`s, which print as a
//! mask. The queue, like the `log` facade's logger, is one for the process; nothing else here is
//! shared.

mod throttle;

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use log::{Level, Log, Metadata, Record};

use crate::clock::{Clock, Mono};
use crate::limits;

use throttle::{Place, Throttle};

static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);
static IS_PATIENT: AtomicBool = AtomicBool::new(false);
static THROTTLE: Mutex<Throttle> = Mutex::new(Throttle::new());
static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();

enum Message {
    Line(Vec<u8>),
    /// All lines before it are written when this is answered.
    Flush(SyncSender<()>),
}

/// Begins to log what `filter` lets through, as `RUST_LOG` spells it.
///
/// # Errors
/// The thread cannot be had, or someone logs already.
pub fn start(filter: &str) -> io::Result<()> {
    let (sender, receiver) = sync_channel(limits::LOG_LINES_MAX);
    let start = Clock::process_start();
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&receiver, start))?;
    let queue = Queue {
        sender: sender.clone(),
        dropped: &LINES_DROPPED,
        is_patient: &IS_PATIENT,
    };
    let lines = env_logger::Builder::new()
        .parse_filters(filter)
        .format(|out, record| {
            let (time, level) = (out.timestamp_millis(), record.level());
            let line = OneLine(record.args());
            writeln!(out, "{time} {level:<5} {} {line}", record.target())
        })
        .target(env_logger::Target::Pipe(Box::new(queue)))
        .build();
    let filter = lines.filter();
    log::set_boxed_logger(Box::new(Gate { lines, start })).map_err(io::Error::other)?;
    log::set_max_level(filter);
    // Set once, for a logger can be set once.
    QUEUE.get_or_init(|| sender);
    Ok(())
}

/// How many lines were dropped because the queue was full.
pub fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

/// From now on every line counts and waits for room in the queue, until stderr turns out to be
/// stuck. For the end of the process, when there is more to tell than fits and no one is kept
/// waiting any more.
pub fn be_patient() {
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
    lines: env_logger::Logger,
    start: Instant,
}

impl Log for Gate {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.lines.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.lines.matches(record) {
            return;
        }
        // Below warn an operator has asked for it, or it is told once.
        let is_throttled = record.level() <= Level::Warn && !IS_PATIENT.load(Ordering::Relaxed);
        let place = Place {
            module: record.module_path_static().unwrap_or_default(),
            line: record.line().unwrap_or_default(),
        };
        if !is_throttled || throttle().admit(place, since(self.start)) {
            self.lines.log(record);
        }
    }

    fn flush(&self) {}
}

fn throttle() -> MutexGuard<'static, Throttle> {
    THROTTLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since(start: Instant) -> Mono {
    Clock::new(start).now().mono
}

/// The cores' end of the queue. `env_logger` holds a lock around each write; it lasts for one copy.
struct Queue {
    sender: SyncSender<Message>,
    dropped: &'static AtomicU64,
    is_patient: &'static AtomicBool,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut message = Message::Line(bounded(line));
        let mut waits_left = limits::LOG_WAITS_MAX;
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
                    thread::sleep(limits::LOG_WAIT);
                }
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => break false,
            }
        };
        if !is_sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `line`, cut to what one line may take.
fn bounded(line: &[u8]) -> Vec<u8> {
    match line.get(..limits::LOG_LINE_BYTES_MAX) {
        Some(start) if start.len() < line.len() => [start, b"...\n"].concat(),
        Some(_) | None => line.to_vec(),
    }
}

/// The thread's work. When stderr is gone there is no one left to tell.
fn write_all(queue: &Receiver<Message>, start: Instant) {
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
                tell_left_out(&mut stderr, Mono(u64::MAX));
                done.try_send(()).unwrap_or_default();
                continue;
            }
            Err(RecvTimeoutError::Timeout) => (Ok(()), since(start)),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if end.is_some_and(|end| end <= now) {
            tell_left_out(&mut stderr, now);
        }
        let dropped = lines_dropped();
        if written.is_ok() && dropped > told {
            let more = dropped - told;
            writeln!(
                stderr,
                "WARN  {} log lines dropped count={more}",
                module_path!()
            )
            .unwrap_or_default();
            told = dropped;
        }
    }
}

/// Tells what the windows that are over at `now` have left out.
fn tell_left_out(stderr: &mut impl Write, now: Mono) {
    let left_out = throttle().end_windows(now);
    for (Place { module, line }, count) in left_out {
        writeln!(
            stderr,
            "WARN  {} lines left out count={count} place={module}:{line} (like its last ones)",
            module_path!()
        )
        .unwrap_or_default();
    }
}

/// Text without line ends and other control characters.
struct OneLine<T>(T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Clean<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl fmt::Write for Clean<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for part in text.split_inclusive(char::is_control) {
                    match part.chars().next_back() {
                        Some(end) if end.is_control() => {
                            let kept = part.strip_suffix(end).unwrap_or_default();
                            write!(self.0, "{kept}{}", end.escape_default())?;
                        }
                        Some(_) | None => self.0.write_str(part)?,
                    }
                }
                Ok(())
            }
        }
        fmt::write(&mut Clean(f), format_args!("{}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        static IS_PATIENT: AtomicBool = AtomicBool::new(false);
        let (sender, receiver) = sync_channel(2);
        let mut queue = Queue {
            sender,
            dropped: &DROPPED,
            is_patient: &IS_PATIENT,
        };
        for number in 0..5 {
            writeln!(queue, "{number}").unwrap();
        }
        // `writeln!` writes a piece at a time; whole lines come in one piece from env_logger.
        assert!(DROPPED.load(Ordering::Relaxed) >= 3);
        let kept = receiver.try_iter().count();
        assert_eq!(kept, 2);
        IS_PATIENT.store(true, Ordering::Relaxed);
        let reader = thread::spawn(move || receiver.iter().count());
        let before = DROPPED.load(Ordering::Relaxed);
        (0..50).for_each(|_| queue.write_all(b"x\n").unwrap());
        drop(queue);
        assert_eq!(reader.join().unwrap(), 50, "all waited for room");
        assert_eq!(DROPPED.load(Ordering::Relaxed), before);
    }

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        let forged = OneLine("paid\n2025-01-01 ERROR forged\r\u{1b}[31mé");
        assert_eq!(
            forged.to_string(),
            "paid\\n2025-01-01 ERROR forged\\r\\u{1b}[31mé"
        );
        let long = vec![b'x'; limits::LOG_LINE_BYTES_MAX + 1];
        assert!(bounded(&long).ends_with(b"x...\n"));
        assert_eq!(bounded(b"short\n"), b"short\n");
    }
}
