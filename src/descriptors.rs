//! Who gets how many of the process's file descriptors, worked out once at the start (I8): what
//! p99 itself holds, what the journal may open later, processors, probes, administrators, and then
//! clients. What does not fit is clipped here and said, so that no client and no slow processor can
//! take the descriptor that the journal's next segment needs.
//!
//! The arithmetic is the rule, and one look is the proof: the kernel always gives the lowest free
//! number, so a connection whose number is among the last ones came too late and is closed
//! ([`is_reserved`]). That needs no count and no lock, whatever opened it.
//!
//! Called by `pay::Setup`; `server` and `upstream` ask about single numbers. Opens nothing.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::config::Config;
use crate::limits;

/// Most open client connections of a process, whatever the descriptor limit allows. At the 6 KiB
/// that an idle one costs, 65,536 of them are 384 MiB.
const CONNECTIONS_MAX: usize = 65_536;
/// Descriptors that the process holds from its start, beside those of cores and journal: the
/// standard streams, the log's pipe, signals, the resolver, the audit file.
const DESCRIPTORS_OWN: usize = 9;
/// Descriptors that no connection may have, beside those of cores and journal: a name lookup has
/// three files and sockets open, the metrics read two files of procfs, one is spare.
const DESCRIPTORS_RESERVED: usize = 6;
/// The descriptor limit where the kernel does not tell it: the usual soft one.
const DESCRIPTORS_ASSUMED: usize = 1_024;
/// Most connections that wait on one of the kept places: a probe asks each few seconds and takes
/// a millisecond, so sixteen serve thousands. Administrators and peers get as many.
const PROBE_PLACES_MAX: usize = 16;
/// Descriptors set aside for each core's connections to the store: its own writer's, and those of
/// some that it adopted.
const STORE_CONNECTIONS_RESERVED: usize = 16;
/// Descriptors that a comparison may need: at most 31 sorted files of the books and as many of the
/// journal, one that is written, a connection, the journal's and its own.
const RECONCILE_DESCRIPTORS: usize = 70;

/// Numbers from here on belong to the journal and the process itself.
static RESERVED_FROM: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// Whether a connection on `descriptor` must go: the last descriptors are for the journal, the
/// resolver and the log.
#[must_use]
pub(crate) fn is_reserved(descriptor: RawFd) -> bool {
    descriptor >= RESERVED_FROM.load(Ordering::Relaxed)
}

/// How many connections of each kind the process may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Of clients.
    pub clients: usize,
    /// Of one client address, whatever CONNECTIONS_PER_ADDRESS says.
    pub per_address: usize,
    /// Kept for `/healthz` and `/readyz` when clients have taken all of theirs.
    pub probes: usize,
    /// On ADMIN_LISTEN.
    pub admins: usize,
    /// Closed ones whose task has not ended yet may be this many more, for each kind.
    pub overlap: usize,
}

/// What is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    places: Places,
    reserved: usize,
    /// All connections to processors.
    upstream: usize,
}

impl Places {
    /// Raises the descriptor limit as far as one may, shares it out, and clips in `config` what
    /// does not fit.
    #[must_use]
    pub fn claim(config: &mut Config) -> Self {
        let descriptors = raise_limit();
        let shares = share_out(descriptors, config);
        let first = reserved_from(descriptors, shares.reserved, &inherited());
        RESERVED_FROM.store(first, Ordering::Relaxed);
        clip(config, shares.upstream, descriptors);
        if shares.places.clients < CONNECTIONS_MAX {
            log::info!(
                "{descriptors} descriptors: {} for clients, {} for processors",
                shares.places.clients,
                shares.upstream
            );
        }
        shares.places
    }
}

/// From which number on `reserved` descriptors are free, though `held` are not: a parent may have
/// left some open, and those may be among the last.
fn reserved_from(descriptors: usize, reserved: usize, held: &[RawFd]) -> RawFd {
    let mut first = RawFd::try_from(descriptors).unwrap_or(RawFd::MAX);
    let mut left = reserved;
    while left > 0 && first > 0 {
        first -= 1;
        left -= usize::from(!held.contains(&first));
    }
    first
}

/// What is open; nothing where no one tells.
fn inherited() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

fn share_out(descriptors: usize, config: &Config) -> Shares {
    let cores = usize::from(config.cores.0);
    let listeners = config
        .listen
        .len()
        .saturating_add(config.admin_listen.len());
    let journal = usize::from(config.journal.is_some());
    let store = usize::from(config.store.is_some());
    // A core: ring or epoll, its bell, and for each listener the socket and a spare.
    let own = DESCRIPTORS_OWN
        .saturating_add(cores.saturating_mul(2 + 2 * listeners))
        .saturating_add(journal * (3 + 2 * cores))
        .saturating_add(store * cores * STORE_CONNECTIONS_RESERVED)
        .saturating_add(cores * limits::PEER_CONNECTIONS_MAX * config.shards.peers.len());
    let reserved = DESCRIPTORS_RESERVED
        .saturating_add(2 * cores)
        .saturating_add(journal * (4 + 2 * cores))
        .saturating_add(usize::from(config.reconcile.is_some()) * RECONCILE_DESCRIPTORS);
    // Probes and administrators, and the overlap of each kind of place.
    let few = (descriptors / 32).clamp(2, PROBE_PLACES_MAX);
    let left = descriptors.saturating_sub(own.saturating_add(reserved).saturating_add(few * 5));
    // Processors get what they may use, but never more than half.
    let upstream = upstream_wanted(config).min(left / 2).max(1);
    let clients = left.saturating_sub(upstream).clamp(1, CONNECTIONS_MAX);
    let places = Places {
        clients,
        per_address: config.connections_per_address.min(clients.div_ceil(2)),
        probes: few,
        admins: few,
        overlap: few,
    };
    Shares {
        places,
        reserved,
        upstream,
    }
}

/// Attempts in flight, idle connections and late answers of all processors; each core's share is
/// rounded up.
fn upstream_wanted(config: &Config) -> usize {
    attempts_and_pools(config).saturating_add(config.late_reads_max)
}

fn attempts_and_pools(config: &Config) -> usize {
    let cores = usize::from(config.cores.0);
    let attempts = config.upstream_concurrency.next_multiple_of(cores.max(1));
    let idle = config.pool_idle_max.saturating_mul(cores);
    attempts
        .saturating_add(idle)
        .saturating_mul(config.upstream.count().get())
}

/// Makes the processors' connections fit in `upstream`: late answers give way first (they are read
/// again by a re-send), then idle connections and attempts alike.
fn clip(config: &mut Config, upstream: usize, descriptors: usize) {
    if upstream_wanted(config) <= upstream {
        return;
    }
    let cores = usize::from(config.cores.0.max(1));
    let busy_max = upstream - upstream / 4;
    if attempts_and_pools(config) > busy_max {
        // Attempts and idle connections alike, at every processor.
        let each_core = busy_max / (2 * config.upstream.count().get()) / cores;
        config.upstream_concurrency = config
            .upstream_concurrency
            .min(each_core.saturating_mul(cores))
            .max(cores);
        config.pool_idle_max = config.pool_idle_max.min(each_core);
    }
    let late = upstream.saturating_sub(attempts_and_pools(config));
    config.late_reads_max = config.late_reads_max.min(late);
    log::warn!(
        "{descriptors} descriptors are few: UPSTREAM_CONCURRENCY is {}, POOL_MAX_IDLE {}, \
         late answers are awaited on {} connections",
        config.upstream_concurrency,
        config.pool_idle_max,
        config.late_reads_max
    );
}

/// The descriptor limit, after raising it as far as one may.
fn raise_limit() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit that outlives both calls.
    let descriptors = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return DESCRIPTORS_ASSUMED;
        }
        let wanted = libc::rlimit {
            rlim_cur: limit.rlim_max,
            rlim_max: limit.rlim_max,
        };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) == 0 {
            limit.rlim_max
        } else {
            limit.rlim_cur
        }
    };
    usize::try_from(descriptors).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &[(&str, &str)]) -> Config {
        let lookup = |name: &str| {
            let usual = [
                ("UPSTREAM_A_URL", "http://127.0.0.1:1"),
                ("UPSTREAM_B_URL", "http://127.0.0.1:2"),
                ("CORES", "2"),
            ];
            let all = more.iter().chain(&usual);
            let found = all.clone().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::from_lookup(lookup).unwrap()
    }

    #[test]
    fn what_all_may_hold_together_never_exceeds_the_limit() {
        for more in [
            &[][..],
            &[("JOURNAL_DIR", "/j"), ("ADMIN_LISTEN", "127.0.0.1:5")],
            &[("CORES", "1"), ("UPSTREAM_CONCURRENCY", "5000")],
        ] {
            for descriptors in [64, 100, 160, 256, 600, 1_024, 4_096, 20_000, 1 << 20] {
                let mut config = config(more);
                let shares = share_out(descriptors, &config);
                clip(&mut config, shares.upstream, descriptors);
                let places = shares.places;
                let clients = places.clients + places.probes + places.admins;
                let held = clients + 3 * places.overlap + upstream_wanted(&config).max(1);
                let cores = usize::from(config.cores.0);
                // Each core has at least one attempt a processor, however few there are.
                let least = if descriptors < 128 { 2 * cores } else { 0 };
                assert!(
                    held + shares.reserved <= descriptors + least,
                    "{descriptors}: {shares:?} {} {} {}",
                    config.upstream_concurrency,
                    config.pool_idle_max,
                    config.late_reads_max
                );
                assert!(config.upstream_concurrency >= cores && places.clients >= 4);
            }
        }
    }

    #[test]
    fn numbers_that_are_taken_are_not_reserved() {
        assert_eq!(reserved_from(160, 16, &[]), 144);
        assert_eq!(reserved_from(160, 16, &[0, 1, 2, 100]), 144);
        assert_eq!(reserved_from(160, 16, &[159, 150, 143]), 141);
        let last: Vec<RawFd> = (120..160).collect();
        assert_eq!(reserved_from(160, 16, &last), 104);
        assert_eq!(reserved_from(10, 16, &last), 0);
    }

    #[test]
    fn with_enough_descriptors_nothing_is_clipped() {
        let mut config = config(&[]);
        let shares = share_out(1 << 20, &config);
        clip(&mut config, shares.upstream, 1 << 20);
        assert_eq!(shares.places.clients, CONNECTIONS_MAX);
        assert_eq!(config.upstream_concurrency, 2_048);
        assert_eq!(config.late_reads_max, limits::LATE_READS_MAX);
    }

    #[test]
    fn late_answers_give_way_before_attempts_do() {
        let mut config = config(&[("UPSTREAM_CONCURRENCY", "256")]);
        clip(&mut config, 2_000, 4_096);
        assert_eq!(config.upstream_concurrency, 256);
        assert_eq!(config.late_reads_max, 2_000 - 4 * 256);
        clip(&mut config, 40, 160);
        assert_eq!((config.upstream_concurrency, config.pool_idle_max), (6, 3));
        assert_eq!(config.late_reads_max, 40 - 4 * 6);
    }
}
