//! p99: a payments proxy that gets every payment charged exactly once.
//!
//! In the order in which a payment meets them:
//!
//! - `cores` starts one pinned thread per core on its `reactor`, watches them and stops them;
//! - `server` accepts clients and reads requests: `http` knows bytes, `wire` knows text;
//! - `pay` hands the payment to the core that owns its id (`mailbox`) and, there, performs what
//!   the owner asks for;
//! - `owner` decides, as a pure state machine of `events`: `claims` knows the id, `route`
//!   wishes for a processor, `flow` says whether it may get the payment, `breaker`,
//!   `concurrency` and `latency` know how it is, `wheel` keeps the times;
//! - `upstream` sends it and reads the answer, over `tls` where it must, and `judge` says
//!   what that proves;
//! - `journal` keeps what must survive, or `store` does for several instances, `ledger` what
//!   was charged; `sockets` are how processors and store are reached;
//! - `payment` has the nouns, `clock` the times, `keys` the random keys, `table` the
//!   places, `generations` what is replaced while p99 runs, `limits` every bound, `config`
//!   the settings, `metrics` and `logging` what is told, `supervisor` what
//!   systemd passes to p99, `timeline` and `audit` what happened to single payments,
//!   `probe` and
//!   `rate_limit` their small tasks.
//!
//! `reconcile` compares a journal with the processors' books, beside all that.
//!
//! `sim` is the processor to test and show all of it with. docs/ARCHITECTURE.md has the floors
//! and what may use what; docs/INVARIANTS.md has the promises I1 to I9 that comments cite.
//!
//! No module is open: `command` lists what the binary uses, and [`testing`] what tests use.

mod addresses;
mod atomics;
mod audit;
mod breaker;
mod claims;
mod clock;
mod concurrency;
mod config;
mod cores;
mod credentials;
mod descriptors;
mod events;
mod flow;
mod generations;
mod http;
mod journal;
mod judge;
mod keys;
mod latency;
mod ledger;
mod limits;
mod logging;
mod mailbox;
mod metrics;
mod owner;
mod pay;
mod payment;
mod peers;
mod probe;
mod rate_limit;
mod reactor;
mod reconcile;
mod route;
mod server;
mod shared;
mod sim;
mod sockets;
mod store;
mod supervisor;
mod table;
mod timeline;
mod tls;
mod upstream;
mod wheel;
mod wire;
mod words;

#[doc(hidden)]
pub mod testing;

/// What the binary uses of the library, by its module.
pub mod command {
    #![allow(
        missing_docs,
        reason = "a list: what it names is explained where it stands"
    )]

    pub mod audit {
        pub use crate::audit::{append, read};
    }
    pub mod clock {
        pub use crate::clock::{Clock, UnixMillis};
    }
    pub mod config {
        pub use crate::config::{
            AdminDoor, AuthHeader, Config, ConfigFault, JournalSync, ListenAddress, NearMiss,
            StoreConfig, admin_door_from_lookup, audit_dir_from_lookup, help,
            journal_dir_from_lookup, listen_from_lookup, near_misses, read_headers_file,
            read_usual_authorities, report, store_from_lookup, tell_faults, usual_authorities,
            warnings, without_values,
        };
    }
    pub mod cores {
        pub use crate::cores::{
            Supervision, ignore_until_heard, serve, unblock_signals, use_own_files,
        };
    }
    pub mod journal {
        pub use crate::journal::{Authorities, JournalFault, JournalSettings, look_at};
        pub mod backup {
            pub use crate::journal::backup::{BackupFault, backup};
        }
        pub mod moving {
            pub use crate::journal::moving::Moving;
        }
        pub mod operator {
            pub use crate::journal::operator::{
                Resolution, VerifyReport, accept_upstreams, dump, forget_shards, is_journal,
                pending, resolve, verify, write_pending,
            };
        }
        pub mod restore {
            pub use crate::journal::restore::{RestoreReport, Restoring};
        }
    }
    pub mod limits {
        pub use crate::limits::{RECONCILE_ENTRIES_MAX, RECONCILE_SETTLED};
    }
    pub mod logging {
        pub use crate::logging::{Format, flush, start};
    }
    pub mod pay {
        pub use crate::pay::{OperatorCall, Setup, authorities};
    }
    pub mod payment {
        pub use crate::payment::{
            CoreCount, CorrelationId, PerProcessor, Processor, Totals, write_cents,
        };
    }
    pub mod probe {
        pub use crate::probe::{Question, Target, ask_ready, call};
    }
    pub mod reactor {
        pub use crate::reactor::Reactor;
    }
    pub mod reconcile {
        pub use crate::reconcile::{
            Access, BookFault, Bounds, Place, ReconcileFault, Request, reconcile,
        };
        pub mod book {
            pub use crate::reconcile::book::{Row, read};
        }
        pub mod report {
            pub use crate::reconcile::report::{Form, write_difference, write_head, write_tally};
        }
    }
    pub mod sim {
        pub use crate::sim::{Fee, Simulator, SimulatorHandle, SimulatorOptions};
    }
    pub mod store {
        pub use crate::store::StorePlace;
        pub mod import {
            pub use crate::store::import::{Imported, import};
        }
        pub mod operator {
            pub use crate::store::operator::{check, finish_import, migrate};
        }
        pub mod processors {
            pub use crate::store::processors::accept;
        }
    }
    pub mod supervisor {
        pub use crate::supervisor::{Notifier, PassedSockets};
    }
    pub mod timeline {
        pub use crate::timeline::NOTHING;
    }
    pub mod wire {
        pub use crate::wire::{Edge, OperatorNote, read_edge, write_instant};
    }
}
