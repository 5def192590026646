//! Where log lines go: to stderr, by way of one thread that may block on it.
//!
//! A core formats its line and puts it into a bounded queue; it never waits for a slow terminal or
//! a container engine whose log driver is stuck. What does not fit is counted and dropped, because
//! a late payment is worse than a missing line. Only while stopping, when each payment that is
//! given up must be told, [`be_patient`] makes lines wait for room.
//!
//! `main` starts it; every room logs through the `log` macros, as words and `name=value` pairs:
//! `log::warn!("attempt ended id={id} processor={}", …)`. Text from outside goes through
//! [`Quoted`], and every line is cleared of control octets, so nobody can forge a second line.
//! Secrets are `config::Secret`s, which print as a mask. The queue, like the `log` facade's
//! logger, is one for the process; nothing else here is shared.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::clock::Mono;
use crate::limits;

static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);
static IS_PATIENT: AtomicBool = AtomicBool::new(false);
static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();

enum Message {
    Line(Vec<u8>),
    /// All lines before it are written when this is answered.
    Flush(SyncSender<()>),
}

/// Begins to log what `filter` lets through, as `RUST_LOG` spells it.
///
/// # Errors
/// The thread cannot be had, or somebody logs already.
pub fn start(filter: &str) -> io::Result<()> {
    let (sender, receiver) = sync_channel(limits::LOG_LINES_MAX);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&receiver))?;
    let queue = Queue {
        sender: sender.clone(),
        dropped: &LINES_DROPPED,
        is_patient: &IS_PATIENT,
    };
    env_logger::Builder::new()
        .parse_filters(filter)
        .format(|out, record| {
            let (time, level) = (out.timestamp_millis(), record.level());
            let line = OneLine(record.args());
            writeln!(out, "{time} {level:<5} {} {line}", record.target())
        })
        .target(env_logger::Target::Pipe(Box::new(queue)))
        .try_init()
        .map_err(io::Error::other)?;
    // Set once, for `try_init` succeeds once.
    QUEUE.get_or_init(|| sender);
    Ok(())
}

/// How many lines were dropped because the queue was full.
pub fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

/// From now on lines wait for room in the queue. For the end of the process, when there is more to
/// tell than fits and nobody is kept waiting any more.
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

/// The cores' end of the queue. `env_logger` holds a lock around each write; it lasts for one copy.
struct Queue {
    sender: SyncSender<Message>,
    dropped: &'static AtomicU64,
    is_patient: &'static AtomicBool,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let message = Message::Line(bounded(line));
        let is_sent = if self.is_patient.load(Ordering::Relaxed) {
            self.sender.send(message).is_ok()
        } else {
            match self.sender.try_send(message) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
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

/// The thread's work. When stderr is gone there is nobody left to tell.
fn write_all(queue: &Receiver<Message>) {
    let mut told = 0;
    for message in queue {
        let mut stderr = io::stderr().lock();
        let written = match message {
            Message::Line(line) => stderr.write_all(&line),
            Message::Flush(done) => {
                done.try_send(()).unwrap_or_default();
                Ok(())
            }
        };
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

/// A value from outside, for a `name=value` pair: bare when it is plain, else in quotes with its
/// quotes, backslashes and control characters escaped.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=');
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

/// Lets a bounded number of lines through per second: for access lines, of which there may be
/// thousands. Each core has its own.
#[derive(Debug)]
pub struct Sampler {
    per_second: u32,
    second: Cell<u64>,
    let_through: Cell<u32>,
    skipped: Cell<u64>,
}

impl Sampler {
    /// At most `per_second` lines in each second.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        let (second, let_through) = (Cell::new(0), Cell::new(0));
        Self {
            per_second,
            second,
            let_through,
            skipped: Cell::new(0),
        }
    }

    /// Whether to log the line at hand: `Some` with how many were skipped since the last one, for
    /// the line to name, or `None`.
    pub fn take(&self, now: Mono) -> Option<u64> {
        let second = now.0 / SECOND_US;
        if self.second.replace(second) != second {
            self.let_through.set(0);
        }
        if self.let_through.get() >= self.per_second {
            self.skipped.set(self.skipped.get().saturating_add(1));
            return None;
        }
        self.let_through.set(self.let_through.get() + 1);
        Some(self.skipped.take())
    }
}

#[allow(
    clippy::as_conversions,
    reason = "a million fits; there is no const try_from"
)]
const SECOND_US: u64 = Duration::from_secs(1).as_micros() as u64;

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

    #[test]
    fn values_from_outside_are_quoted_when_they_need_it() {
        for (value, text) in [
            ("abc-1", "abc-1"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a\"b", "\"a\\\"b\""),
            ("a=b", "\"a=b\""),
            ("a\nb", "\"a\\nb\""),
        ] {
            assert_eq!(Quoted(value).to_string(), text);
        }
    }

    #[test]
    fn a_sampler_lets_some_lines_through_and_counts_the_rest() {
        let sampler = Sampler::new(2);
        let at = |millis: u64| Mono(millis * 1_000);
        assert_eq!(sampler.take(at(0)), Some(0));
        assert_eq!(sampler.take(at(1)), Some(0));
        assert_eq!(sampler.take(at(2)), None);
        assert_eq!(sampler.take(at(999)), None);
        assert_eq!(sampler.take(at(1_000)), Some(2));
        assert_eq!(sampler.take(at(5_000)), Some(0));
    }
}
