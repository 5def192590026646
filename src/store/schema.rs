//! The schema of version 1, as text, and what a role of p99's must have. For `p99 store migrate`
//! and `check`.

/// What the schema is counted as. A binary runs with this one and the one before.
pub(crate) const SCHEMA_VERSION: i32 = 1;

/// The tables, for `p99 store migrate`. Each statement may be repeated.
pub(super) const SCHEMA: [&str; 12] = [
    "CREATE SCHEMA IF NOT EXISTS p99",
    "CREATE TABLE IF NOT EXISTS p99.meta (one int PRIMARY KEY CHECK (one = 1), \
     version int NOT NULL, purges bigint NOT NULL, next_writer int NOT NULL, id uuid NOT NULL, \
     made bigint NOT NULL, cut bigint, exact_from bigint NOT NULL, importing boolean NOT NULL)",
    "CREATE TABLE IF NOT EXISTS p99.processor (index smallint PRIMARY KEY, \
     name text NOT NULL UNIQUE, authority text)",
    "CREATE TABLE IF NOT EXISTS p99.writer (writer int PRIMARY KEY, epoch bigint NOT NULL, \
     batch bigint NOT NULL, nonce bigint NOT NULL, holder text NOT NULL, \
     lease_until timestamptz NOT NULL, open_since bigint) WITH (fillfactor = 10)",
    // The last batch that held all that its writer had answered by then.
    "ALTER TABLE p99.writer ADD COLUMN IF NOT EXISTS whole bigint NOT NULL DEFAULT 0",
    "CREATE TABLE IF NOT EXISTS p99.payment (id uuid PRIMARY KEY, cents bigint NOT NULL, \
     at bigint NOT NULL, accepted_at bigint, epoch bigint NOT NULL, batch bigint NOT NULL, \
     writer int NOT NULL, processor smallint, status smallint NOT NULL, correlation_id text, \
     address text, first_sent bigint, settled_at timestamptz, settled_batch bigint, \
     reference text, print bytea, scope text) WITH (fillfactor = 75)",
    "CREATE INDEX IF NOT EXISTS payment_at ON p99.payment (writer, at)",
    // `sec` is a second since 1970, or an hour as a negative number: see `parts`.
    "CREATE TABLE IF NOT EXISTS p99.rollup (writer int, processor smallint, sec bigint, \
     n bigint NOT NULL, cents bigint NOT NULL, PRIMARY KEY (writer, processor, sec)) \
     WITH (fillfactor = 50)",
    "CREATE TABLE IF NOT EXISTS p99.lingering (writer int, id uuid, PRIMARY KEY (writer, id))",
    "INSERT INTO p99.processor (index, name) VALUES (0, 'default'), (1, 'fallback'), (2, 'third'), \
     (3, 'fourth'), (4, 'fifth'), (5, 'sixth'), (6, 'seventh'), (7, 'eighth') \
     ON CONFLICT (index) DO NOTHING",
    "INSERT INTO p99.meta (one, version, purges, next_writer, id, made, exact_from, importing) \
     VALUES (1, 1, 0, 1, gen_random_uuid(), floor(extract(epoch FROM now()))::bigint * 1000, 0, \
     true) ON CONFLICT (one) DO NOTHING",
    // Whose the turn of sweeping is, and the sums of writers that are gone.
    "INSERT INTO p99.writer (writer, epoch, batch, nonce, holder, lease_until) \
     VALUES (0, 1, 0, 0, 'no sweeper yet', now()) ON CONFLICT (writer) DO NOTHING",
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
