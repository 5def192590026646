//! What tests, examples, benches and fuzz targets may use of the library, item by item and by its
//! module. The modules themselves are closed, so that the compiler finds code that nothing calls;
//! what is listed here counts as called. It is no interface: p99 itself uses `command` in `lib.rs`.

#![allow(
    missing_docs,
    reason = "a list: what it names is explained where it stands"
)]

pub mod addresses {
    pub use crate::addresses::{AddressBook, Listing};
}
pub mod breaker {
    pub use crate::breaker::{Breaker, BreakerSettings, Kind, Permit, State, Verdict};
}
pub mod claims {
    pub use crate::claims::{Claims, FirstAnswer, Full, SettledClaim};
}
pub mod clock {
    pub use crate::clock::{Boot, Clock, Mono, Now, UnixMillis};
}
pub mod concurrency {
    pub use crate::concurrency::Bounds;
}
pub mod config {
    pub use crate::config::{
        Ack, AddressRange, Allowed, AnswerAfter, Config, ConfigFault, DefaultValue, JournalSync,
        ListenAddress, OnDuplicate, Routing, SETTINGS, Setting, StoreUrl, Upstream500, help,
        near_misses, report, tell_faults, warnings,
    };
}
pub mod cores {
    pub use crate::cores::{Exit, Running, end_process_on_panic};
}
pub mod credentials {
    pub use crate::credentials::{Credentials, Reloaded};
}
pub mod events {
    pub use crate::events::{
        Action, Answer, Arrival, AttemptRef, Exchange, Lookup, Note, ReplyTo, WriterSlot,
    };
}
pub mod http {
    pub use crate::http::{
        AnswerFault, AnswerFraming, AnswerHead, AnswerReader, Body, BodyFault, BodyReader,
        DateCache, FixedHead, Framing, HeadRules, Method, Persistence, Reject, RequestHead,
        ResponseHead, RetryAfter, Version, parse_head, read_node, write_response,
    };
    pub mod date {
        pub use crate::http::date::imf_fixdate;
    }
}
pub mod journal {
    pub use crate::journal::testing::{
        SegmentBytes, SegmentEnd, read_segment, read_snapshot, segment, snapshot, write_snapshot,
    };
    pub use crate::journal::{
        Authorities, Fate, Haste, JournalFault, JournalId, JournalSettings, Pending, Progress,
        Record, Restored, Sent, Started, StoreId, Verdict, Writer, date_of, distribute, start,
    };
    pub mod moving {
        pub use crate::journal::moving::Moving;
    }
    pub mod operator {
        pub use crate::journal::operator::verify;
    }
    pub mod replay {
        pub use crate::journal::replay::{Sent, State};
    }
}
pub mod keys {
    pub use crate::keys::unlike_all;
}
pub mod ledger {
    pub use crate::ledger::{CutsOldSecond, Ledger};
}
pub mod limits {
    pub use crate::limits::{
        AMOUNT_CENTS_MAX, FORWARDED_FOR_LINES_MAX, HOUSEKEEPING_INTERVAL, JOURNAL_LATER_MAX,
        JSON_DEPTH_MAX, STORE_ANSWER_BYTES_MAX, STORE_LOGIN_TIMEOUT, STORE_PAGE_ROWS,
    };
}
pub mod logging {
    pub use crate::logging::{Format, start};
}
pub mod mailbox {
    pub use crate::mailbox::{Mailbox, Message, mailboxes};
}
pub mod metrics {
    pub use crate::metrics::{
        Answered, BreakerReading, JournalMode, Metrics, MetricsSetup, Reading, Route,
    };
}
pub mod owner {
    pub use crate::owner::{
        Journalling, Owner, OwnerSettings, Processors, Restored, SumFault, breaker_settings,
        concurrency_bounds,
    };
}
pub mod pay {
    pub use crate::pay::Setup;
}
pub mod payment {
    pub use crate::payment::{
        AmountFault, Cents, Configured, CoreCount, CoreId, CorrelationId, CorrelationIdFault,
        PROCESSORS_MAX, Payment, PaymentView, PerProcessor, Processor, ProcessorCount, Shard,
        Status, Totals, UpstreamId,
    };
}
pub mod peers {
    pub use crate::peers::Peers;
}
pub mod rate_limit {
    pub use crate::rate_limit::Client;
}
pub mod reactor {
    pub use crate::reactor::Reactor;
}
pub mod reconcile {
    pub use crate::reconcile::Kind;
}
pub mod route {
    pub use crate::route::{Rules, Situation, plan, prefer};
}
pub mod server {
    pub use crate::server::testing::client_of;
    pub mod lifecycle {
        pub use crate::server::lifecycle::Phase;
    }
}
pub mod shared {
    pub use crate::shared::{End, News, Writers};
}
pub mod sim {
    pub use crate::sim::{
        Act, Deciding, Fault, Moment, Route, Row, Simulator, SimulatorHandle, SimulatorOptions,
        Window,
    };
}
pub mod store {
    pub use crate::store::{
        Adoption, Answer, Command, Connection, Epoch, Machine, MachineTerms, Outcome, Question,
        Record, Reply, Report, Row, RowStatus, StorePlace, Sweep, SweepNews, Sweeper, Swept,
        Transaction, Window, Writer, WriterId,
    };
    pub mod model {
        pub use crate::store::model::{Model, behind_a_notice};
    }
    pub mod operator {
        pub use crate::store::operator::{finish_import, migrate};
    }
    pub mod processors {
        pub use crate::store::processors::agree;
    }
}
pub mod table {
    pub use crate::table::Key;
}
pub mod upstream {
    pub use crate::upstream::NameLookup;
}
pub mod wire {
    pub use crate::wire::{
        CHARGED, Edge, Field, Introduction, PaymentFault, UpstreamPayment, query_has, read_edge,
        read_payment, read_query, read_summary, read_upstream_payment, upstream_payment_bytes,
        write_instant, write_upstream_payment,
    };
}
