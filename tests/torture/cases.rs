//! What fails when: from the counted calls of a scene to the cases that are played.

use std::fmt;

use crate::kit::dice::mix;

/// What p99 runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    RingAlways,
    EpollAlways,
    RingOs,
}

impl Stage {
    pub(crate) const ALL: [Self; 3] = [Self::RingAlways, Self::EpollAlways, Self::RingOs];

    pub(crate) const fn legacy(self) -> &'static str {
        match self {
            Self::RingAlways | Self::RingOs => "0",
            Self::EpollAlways => "1",
        }
    }

    pub(crate) const fn sync(self) -> &'static str {
        match self {
            Self::RingAlways | Self::EpollAlways => "always",
            Self::RingOs => "os",
        }
    }

    /// JOURNAL_SYNC changes calls about segments only.
    fn wants(self, name: &str) -> bool {
        self != Self::RingOs || name.ends_with(" segment")
    }
}

/// One line of what the injector counted.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    kind: String,
    pub(crate) count: u64,
}

impl Row {
    pub(crate) fn read(line: &str) -> Self {
        let mut parts = line.split('|');
        let mut part = || parts.next().expect("NAME|KIND|COUNT").to_owned();
        Self {
            name: part(),
            kind: part(),
            count: part().parse().expect("a number"),
        }
    }

    fn modes(&self) -> &'static [&'static str] {
        match self.kind.as_str() {
            "Moving" => &["before", "after", "short", "cut"],
            "Whole" => &["before", "after"],
            _ => &["before"],
        }
    }

    /// The first, the second, some between, the last.
    fn numbers(&self) -> Vec<u64> {
        let mut all = vec![1, 2, self.count / 3, self.count * 2 / 3, self.count];
        all.sort_unstable();
        all.dedup();
        all.retain(|number| (1..=self.count).contains(number));
        all
    }

    /// What the kernel may say.
    fn errnos(&self) -> &'static [i32] {
        use libc::{
            EACCES, EADDRNOTAVAIL, EAGAIN, EBUSY, ECONNABORTED, ECONNREFUSED, ECONNRESET, EINTR,
            EIO, EMFILE, ENETUNREACH, ENOBUFS, ENOLCK, ENOMEM, ENOSPC, EPERM, EPIPE, ETIMEDOUT,
        };
        let (call, object) = self.name.rsplit_once(' ').expect("CALL OBJECT");
        let is_socket = ["client", "upstream"].contains(&object);
        match call.strip_prefix("ring ").unwrap_or(call) {
            "recv" | "read" if is_socket => &[ECONNRESET, ETIMEDOUT, EINTR],
            "send" | "write" if is_socket => &[EPIPE, ECONNRESET, ENOBUFS, EINTR],
            "write" | "pwrite64" => &[EIO, ENOSPC, EINTR],
            "read" | "pread64" => &[EIO, EINTR],
            "fsync" | "fdatasync" => &[EIO, ENOSPC],
            "rename" | "fallocate" | "ftruncate64" | "mkdir" => &[ENOSPC, EIO],
            "open" | "create" | "opendir" => &[EMFILE, EACCES, EIO],
            "accept" => &[ECONNABORTED, EMFILE, ENOBUFS, EINTR],
            "connect" => &[ECONNREFUSED, EADDRNOTAVAIL, ENETUNREACH, EAGAIN],
            "socket" | "eventfd" | "epoll_create" | "socketpair" | "dup" => &[EMFILE, ENOMEM],
            "bind" | "listen" => &[EADDRNOTAVAIL, EACCES],
            "flock" => &[ENOLCK, EINTR],
            "epoll_wait" => &[EINTR],
            "io_uring_enter" => &[EINTR, EBUSY, EAGAIN],
            "io_uring_setup" => &[ENOMEM, EPERM, EMFILE],
            "spawn" => &[EAGAIN],
            "sched_setaffinity" | "setrlimit" => &[EPERM],
            "shutdown" => &[libc::ENOTCONN],
            "setsockopt" | "getsockopt" | "getsockname" | "getpeername" | "fcntl" | "ioctl"
            | "epoll_ctl" | "poll" | "mmap" | "sigaction" | "io_uring_register" => &[ENOMEM],
            _ => &[EIO],
        }
    }
}

/// One call that fails once.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) stage: Stage,
    /// In which process of the scene: the first starts without a journal, the second with one.
    pub(crate) process: usize,
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) mode: &'static str,
    pub(crate) errno: i32,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} process {} `{}` call {} {} errno {}",
            self.stage, self.process, self.name, self.number, self.mode, self.errno
        )
    }
}

impl Case {
    /// As the injector reads it.
    pub(crate) fn text(&self) -> String {
        format!("{}|{}|{}|{}", self.name, self.number, self.mode, self.errno)
    }

    /// A call that was interrupted has done nothing, and what is done in part has no error.
    fn is_legal(&self) -> bool {
        match self.mode {
            "after" | "cut" => self.errno != libc::EINTR && self.errno != libc::EAGAIN,
            _ => true,
        }
    }
}

/// Why a call that is counted is left alone.
fn is_left_alone(name: &str) -> bool {
    let alone = [
        // mimalloc and the standard library read them before main and take any answer.
        "procfs",
        // The runtime's own wakes between threads: it gives up its thread when they fail.
        "waker",
    ];
    // Checks that only debug builds of the standard library make before each close.
    let is_debug = name.starts_with("fcntl ") && !name.ends_with(" socket");
    // Nothing can be done about a descriptor that cannot be closed, and no kernel keeps it.
    let is_close = name.starts_with("ring close");
    alone.iter().any(|object| name.ends_with(object)) || is_debug || is_close
}

/// Every case of a stage, or the sample of them, or each call once, or those that are named.
pub(crate) fn choose(stage: Stage, tables: &[Vec<Row>; 2]) -> Vec<Case> {
    let wanted = std::env::var("TORTURE").unwrap_or_default();
    let mut chosen = Vec::new();
    for (process, rows) in tables.iter().enumerate() {
        for row in rows {
            let is_also_later =
                process == 0 && tables[1].iter().any(|other| other.name == row.name);
            if is_also_later || is_left_alone(&row.name) || !stage.wants(&row.name) {
                continue;
            }
            let cases = of_row(stage, process, row);
            match wanted.as_str() {
                "" => chosen.extend(sample(&cases)),
                "full" => chosen.extend(cases),
                "each" => chosen.extend(each_once(&cases, row)),
                text => chosen.extend(cases.into_iter().filter(|case| case.is_named(text))),
            }
        }
    }
    chosen
}

impl Case {
    fn is_named(&self, text: &str) -> bool {
        format!("{self:?}").contains(text)
    }
}

/// One of them, always the same.
fn sample(cases: &[Case]) -> Option<Case> {
    let first = cases.first()?;
    let text = format!("{:?} {}", first.stage, first.name);
    let number = text.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
    let place = usize::try_from(number % cases.len() as u64).expect("fits");
    cases.get(place).cloned()
}

/// Every call of the row in turn: modes and errors take turns, too.
fn each_once(cases: &[Case], row: &Row) -> Vec<Case> {
    let first = cases.iter().filter(|case| case.number == 1);
    let cases = first.cycle().zip(1..=row.count);
    let at = |(case, number): (&Case, u64)| Case {
        number,
        ..case.clone()
    };
    cases.map(at).collect()
}

fn of_row(stage: Stage, process: usize, row: &Row) -> Vec<Case> {
    let mut cases = Vec::new();
    for number in row.numbers() {
        for mode in row.modes() {
            for errno in row.errnos() {
                cases.push(Case {
                    stage,
                    process,
                    name: row.name.clone(),
                    number,
                    mode,
                    errno: *errno,
                });
                // It reports no error.
                if *mode == "short" {
                    break;
                }
            }
        }
    }
    cases.retain(Case::is_legal);
    cases
}
