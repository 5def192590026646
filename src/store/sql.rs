//! The statements, as text: the schema of version 1, and what a writer sends. Portable SQL but for
//! what is said; each is prepared once on a connection, and planned once for all arrays.
//!
//! Every write of a batch is guarded by the writer's row as the fence left it in this transaction
//! (`guard`): without the fence nothing is written. It names no column of the statement, so it is
//! looked at once and not for each row. `+ 0` keeps the planner away from the index on
//! writer and time, which never fits as well as the primary key.

/// What the schema is counted as. A binary runs with this one and the one before.
pub const SCHEMA_VERSION: i32 = 1;

/// The tables, for `p99 store migrate`. Each statement may be repeated.
pub(super) const SCHEMA: [&str; 10] = [
    "CREATE SCHEMA IF NOT EXISTS p99",
    "CREATE TABLE IF NOT EXISTS p99.meta (one int PRIMARY KEY CHECK (one = 1), \
     version int NOT NULL, purges bigint NOT NULL, next_writer int NOT NULL, id uuid NOT NULL, \
     cut bigint NOT NULL, exact_from bigint NOT NULL, importing boolean NOT NULL)",
    "CREATE TABLE IF NOT EXISTS p99.processor (index smallint PRIMARY KEY, \
     name text NOT NULL UNIQUE, authority text)",
    "CREATE TABLE IF NOT EXISTS p99.writer (writer int PRIMARY KEY, epoch bigint NOT NULL, \
     batch bigint NOT NULL, nonce bigint NOT NULL, holder text NOT NULL, \
     lease_until timestamptz NOT NULL, open_since bigint) WITH (fillfactor = 10)",
    "CREATE TABLE IF NOT EXISTS p99.payment (id uuid PRIMARY KEY, cents bigint NOT NULL, \
     at bigint NOT NULL, accepted_at bigint, epoch bigint NOT NULL, batch bigint NOT NULL, \
     writer int NOT NULL, processor smallint, status smallint NOT NULL, correlation_id text, \
     address text, first_sent bigint, settled_at timestamptz, settled_batch bigint, \
     reference text, print bytea, scope text) WITH (fillfactor = 75)",
    "CREATE INDEX IF NOT EXISTS payment_at ON p99.payment (writer, at)",
    "CREATE TABLE IF NOT EXISTS p99.rollup (writer int, processor smallint, sec bigint, \
     n bigint NOT NULL, cents bigint NOT NULL, PRIMARY KEY (writer, processor, sec)) \
     WITH (fillfactor = 50)",
    "CREATE TABLE IF NOT EXISTS p99.lingering (writer int, id uuid, PRIMARY KEY (writer, id))",
    "INSERT INTO p99.processor (index, name) VALUES (0, 'default'), (1, 'fallback'), (2, 'third'), \
     (3, 'fourth'), (4, 'fifth'), (5, 'sixth'), (6, 'seventh'), (7, 'eighth') \
     ON CONFLICT (index) DO NOTHING",
    "INSERT INTO p99.meta (one, version, purges, next_writer, id, cut, exact_from, importing) \
     VALUES (1, 1, 0, 1, gen_random_uuid(), floor(extract(epoch FROM now()))::bigint * 1000, 0, \
     true) ON CONFLICT (one) DO NOTHING",
];

/// What a role of p99's must have set, and why: prepared on empty tables the planner keeps
/// sequential scans, it plans again for each array, and a paused instance holds its locks.
pub(super) const ROLE_SETTINGS: [(&str, &str); 10] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_memoize", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("default_transaction_isolation", "read committed"),
    ("lock_timeout", "500ms"),
    ("statement_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "2s"),
];

/// The tables that a role of p99's reads and writes.
pub(super) const TABLES: [&str; 6] = [
    "meta",
    "processor",
    "writer",
    "payment",
    "rollup",
    "lingering",
];

macro_rules! guard {
    () => {
        "EXISTS (SELECT 1 FROM p99.writer w WHERE w.writer = $1::int AND w.epoch = $2::bigint \
         AND w.batch = $3::bigint AND w.nonce = $4::bigint)"
    };
}

macro_rules! row {
    () => {
        "p.id, p.cents, p.at, p.accepted_at, p.epoch, p.writer, p.processor, p.status, \
         p.correlation_id, p.address, p.first_sent, COALESCE(w.epoch, p.epoch), \
         COALESCE(w.batch, 0)::bigint, CASE WHEN w.lease_until >= now() THEN 0 ELSE 1 END::int"
    };
}

/// A statement of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Begin,
    Commit,
    Fence,
    Free,
    Change,
    Claim,
    Roll,
    Linger,
    Relieve,
    SetSums,
    StopWriters,
    ForgetRows,
    ForgetSums,
    CountPurge,
    Rows,
    Whole,
    Edge,
    Open,
    Expired,
    Lingering,
    Page,
    Purges,
    NextWriter,
    Register,
    Doubt,
    Mine,
    Adopt,
}

impl Statement {
    pub(super) const ALL: [Self; 27] = [
        Self::Begin,
        Self::Commit,
        Self::Fence,
        Self::Free,
        Self::Change,
        Self::Claim,
        Self::Roll,
        Self::Linger,
        Self::Relieve,
        Self::SetSums,
        Self::StopWriters,
        Self::ForgetRows,
        Self::ForgetSums,
        Self::CountPurge,
        Self::Rows,
        Self::Whole,
        Self::Edge,
        Self::Open,
        Self::Expired,
        Self::Lingering,
        Self::Page,
        Self::Purges,
        Self::NextWriter,
        Self::Register,
        Self::Doubt,
        Self::Mine,
        Self::Adopt,
    ];

    /// Its name on a connection.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Begin => "p99_begin",
            Self::Commit => "p99_commit",
            Self::Fence => "p99_fence",
            Self::Free => "p99_free",
            Self::Change => "p99_change",
            Self::Claim => "p99_claim",
            Self::Roll => "p99_roll",
            Self::Linger => "p99_linger",
            Self::Relieve => "p99_relieve",
            Self::SetSums => "p99_set_sums",
            Self::StopWriters => "p99_stop_writers",
            Self::ForgetRows => "p99_forget_rows",
            Self::ForgetSums => "p99_forget_sums",
            Self::CountPurge => "p99_count_purge",
            Self::Rows => "p99_rows",
            Self::Whole => "p99_whole",
            Self::Edge => "p99_edge",
            Self::Open => "p99_open",
            Self::Expired => "p99_expired",
            Self::Lingering => "p99_lingering",
            Self::Page => "p99_page",
            Self::Purges => "p99_purges",
            Self::NextWriter => "p99_next_writer",
            Self::Register => "p99_register",
            Self::Doubt => "p99_doubt",
            Self::Mine => "p99_mine",
            Self::Adopt => "p99_adopt",
        }
    }

    #[allow(clippy::too_many_lines, reason = "the statements, one after the other")]
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Begin => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Self::Commit => "COMMIT",
            Self::Fence => {
                "UPDATE p99.writer SET batch = $3::bigint, nonce = $4::bigint, \
                 lease_until = now() + $7::int * interval '1 second', open_since = $6::bigint \
                 WHERE writer = $1::int AND epoch = $2::bigint AND batch = $3::bigint - 1 \
                 AND nonce = $5::bigint"
            }
            Self::Free => concat!(
                "DELETE FROM p99.payment p USING unnest($5::uuid[]) u(id) WHERE ",
                guard!(),
                " AND p.id = u.id AND p.writer + 0 = $1::int AND p.status IN (0, 1)"
            ),
            // 2 adds what the row was: charged, or charged after a promise.
            Self::Change => concat!(
                "UPDATE p99.payment p SET status = CASE u.change WHEN 0 THEN p.status \
                 WHEN 2 THEN p.status + 2 ELSE u.change END, at = COALESCE(u.at, p.at), \
                 processor = CASE WHEN u.processor < 0 THEN NULL \
                 ELSE COALESCE(u.processor, p.processor) END, \
                 address = COALESCE(u.address, p.address), \
                 accepted_at = COALESCE(p.accepted_at, u.accepted_at), \
                 first_sent = CASE WHEN u.processor >= 0 THEN COALESCE(p.first_sent, u.at) \
                 ELSE p.first_sent END, \
                 epoch = CASE WHEN u.heard = 1 OR u.change >= 2 THEN $2::bigint ELSE p.epoch END, \
                 settled_at = CASE WHEN u.change >= 2 THEN now() END, \
                 settled_batch = CASE WHEN u.change >= 2 THEN $3::bigint END \
                 FROM unnest($5::uuid[], $6::smallint[], $7::bigint[], $8::smallint[], \
                 $9::text[], $10::bigint[], $11::smallint[]) \
                 u(id, change, at, processor, address, accepted_at, heard) WHERE ",
                guard!(),
                " AND p.id = u.id AND p.writer + 0 = $1::int AND p.status IN (0, 1)"
            ),
            Self::Claim => concat!(
                "INSERT INTO p99.payment (id, cents, at, accepted_at, epoch, batch, writer, \
                 processor, status, correlation_id, address, first_sent, settled_at, \
                 settled_batch) SELECT u.id, u.cents, u.at, u.accepted_at, $2::bigint, $3::bigint, \
                 $1::int, u.processor, u.status, u.correlation_id, u.address, u.first_sent, \
                 CASE WHEN u.status >= 2 THEN now() END, \
                 CASE WHEN u.status >= 2 THEN $3::bigint END \
                 FROM unnest($5::uuid[], $6::bigint[], $7::bigint[], $8::bigint[], \
                 $9::smallint[], $10::smallint[], $11::text[], $12::text[], $13::bigint[]) \
                 u(id, cents, at, accepted_at, processor, status, correlation_id, address, \
                 first_sent) WHERE ",
                guard!(),
                " ON CONFLICT (id) DO NOTHING RETURNING id"
            ),
            // It counts rows that this batch settled, never what was sent with it.
            Self::Roll => concat!(
                "INSERT INTO p99.rollup AS r (writer, processor, sec, n, cents) \
                 SELECT p.writer, p.processor, p.at / 1000, count(*), sum(p.cents)::bigint \
                 FROM unnest($5::uuid[]) u(id), p99.payment p WHERE ",
                guard!(),
                " AND p.id = u.id AND p.writer + 0 = $1::int AND p.settled_batch = $3::bigint \
                 AND p.status IN (2, 3, 6) AND p.processor IS NOT NULL GROUP BY 1, 2, 3 \
                 ON CONFLICT (writer, processor, sec) DO UPDATE \
                 SET n = r.n + excluded.n, cents = r.cents + excluded.cents"
            ),
            Self::Linger => concat!(
                "INSERT INTO p99.lingering (writer, id) SELECT $1::int, u.id \
                 FROM unnest($5::uuid[]) u(id) WHERE ",
                guard!(),
                " ON CONFLICT DO NOTHING"
            ),
            Self::Relieve => concat!(
                "DELETE FROM p99.lingering l USING unnest($5::uuid[]) u(id) WHERE ",
                guard!(),
                " AND l.writer = $1::int AND l.id = u.id"
            ),
            Self::SetSums => concat!(
                "INSERT INTO p99.rollup (writer, processor, sec, n, cents) \
                 SELECT $1::int, u.processor, u.sec, u.n, u.cents \
                 FROM unnest($5::smallint[], $6::bigint[], $7::bigint[], $8::bigint[]) \
                 u(processor, sec, n, cents) WHERE ",
                guard!(),
                " ON CONFLICT (writer, processor, sec) DO UPDATE \
                 SET n = excluded.n, cents = excluded.cents"
            ),
            // Their batches wait until the purge is over.
            Self::StopWriters => concat!("UPDATE p99.writer SET batch = batch WHERE ", guard!()),
            Self::ForgetRows => concat!("DELETE FROM p99.payment WHERE status >= 2 AND ", guard!()),
            Self::ForgetSums => concat!("DELETE FROM p99.rollup WHERE ", guard!()),
            Self::CountPurge => {
                concat!("UPDATE p99.meta SET purges = purges + 1 WHERE ", guard!())
            }
            Self::Rows => concat!(
                "SELECT ",
                row!(),
                " FROM unnest($1::uuid[]) u(id) JOIN p99.payment p ON p.id = u.id \
                 LEFT JOIN p99.writer w ON w.writer = p.writer"
            ),
            Self::Whole => {
                "SELECT r.processor, sum(r.n)::bigint, sum(r.cents)::text FROM p99.writer w \
                 CROSS JOIN p99.processor q JOIN p99.rollup r ON r.writer = w.writer \
                 AND r.processor = q.index AND r.sec BETWEEN $1::bigint AND $2::bigint \
                 GROUP BY r.processor"
            }
            Self::Edge => {
                "SELECT p.processor, count(*), sum(p.cents)::text FROM p99.writer w \
                 JOIN p99.payment p ON p.writer = w.writer \
                 AND p.at BETWEEN $1::bigint AND $2::bigint \
                 WHERE p.status IN (2, 3, 6) AND p.processor IS NOT NULL GROUP BY p.processor"
            }
            Self::Open => {
                "SELECT o.writer, w.batch, count(*), \
                 max(CASE WHEN o.epoch < w.epoch OR w.lease_until < now() THEN 1 ELSE 0 END)::int \
                 FROM (SELECT p.id, p.writer, p.epoch FROM p99.writer v JOIN p99.payment p \
                 ON p.writer = v.writer AND p.at >= v.open_since \
                 AND p.at BETWEEN $1::bigint AND $2::bigint \
                 WHERE p.status IN (0, 1) AND p.processor IS NOT NULL UNION \
                 SELECT p.id, p.writer, p.epoch FROM p99.lingering l JOIN p99.payment p \
                 ON p.id = l.id AND p.writer + 0 = l.writer \
                 WHERE p.at BETWEEN $1::bigint AND $2::bigint AND p.status IN (0, 1) \
                 AND p.processor IS NOT NULL) o \
                 JOIN p99.writer w ON w.writer = o.writer GROUP BY o.writer, w.batch"
            }
            Self::Expired => {
                "SELECT w.writer, w.epoch FROM p99.writer w WHERE w.lease_until < now() \
                 AND (w.open_since IS NOT NULL OR EXISTS \
                 (SELECT 1 FROM p99.lingering l WHERE l.writer = w.writer))"
            }
            Self::Lingering => concat!(
                "SELECT ",
                row!(),
                " FROM p99.lingering l JOIN p99.payment p ON p.id = l.id \
                 AND p.writer + 0 = l.writer JOIN p99.writer w ON w.writer = l.writer \
                 WHERE l.writer = $1::int AND p.status IN (0, 1)"
            ),
            Self::Page => concat!(
                "SELECT ",
                row!(),
                " FROM p99.payment p JOIN p99.writer w ON w.writer = p.writer \
                 WHERE p.writer = $1::int AND p.at >= $2::bigint \
                 AND (p.at > $2::bigint OR p.id > $3::uuid) AND p.status IN (0, 1) \
                 ORDER BY p.at, p.id LIMIT $4::int"
            ),
            Self::Purges => "SELECT purges FROM p99.meta WHERE one = 1",
            Self::NextWriter => {
                "UPDATE p99.meta SET next_writer = next_writer + 1 WHERE one = 1 AND NOT importing"
            }
            Self::Register => {
                "INSERT INTO p99.writer (writer, epoch, batch, nonce, holder, lease_until) \
                 SELECT next_writer - 1, 1, 0, $1::bigint, $2::text, \
                 now() + $3::int * interval '1 second' FROM p99.meta \
                 WHERE one = 1 AND NOT importing RETURNING writer, epoch"
            }
            Self::Doubt => {
                "UPDATE p99.writer SET nonce = $3::bigint \
                 WHERE writer = $1::int AND epoch = $2::bigint RETURNING batch"
            }
            Self::Mine => {
                "SELECT p.id FROM unnest($3::uuid[]) u(id) JOIN p99.payment p ON p.id = u.id \
                 WHERE p.writer + 0 = $1::int AND p.batch = $2::bigint"
            }
            Self::Adopt => {
                "UPDATE p99.writer SET epoch = epoch + 1, nonce = $3::bigint, holder = $4::text, \
                 lease_until = now() + $5::int * interval '1 second' WHERE writer = $1::int \
                 AND epoch = $2::bigint AND lease_until < now() \
                 RETURNING epoch, batch, open_since"
            }
        }
    }
}
