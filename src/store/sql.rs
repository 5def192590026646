//! The statements of writers and sweepers, as text. Portable SQL but for what is said; each is
//! prepared once on a connection, and planned once for all arrays.
//!
//! Every write of a batch is guarded by the writer's row as the fence left it in this transaction
//! (`guard`): without the fence nothing is written. It names no column of the statement, so it is
//! looked at once and not for each row. `+ 0` keeps the planner away from the index on
//! writer and time, which never fits as well as the primary key.

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
         COALESCE(w.batch, 0)::bigint, COALESCE(w.whole, 0)::bigint, \
         CASE WHEN w.lease_until >= now() THEN 0 ELSE 1 END::int"
    };
}

/// Whose turn it is to sweep.
macro_rules! turn {
    () => {
        "EXISTS (SELECT 1 FROM p99.writer t WHERE t.writer = 0 AND t.nonce = $1::bigint)"
    };
}

macro_rules! now_ms {
    () => {
        "(floor(extract(epoch FROM now()) * 1000)::bigint)"
    };
}

/// A writer that ended before the cut, and has no payment any more.
macro_rules! dead {
    () => {
        "w.writer > 0 AND w.open_since IS NULL AND w.lease_until < \
         (SELECT to_timestamp(cut / 1000) FROM p99.meta WHERE one = 1) \
         AND NOT EXISTS (SELECT 1 FROM p99.payment d WHERE d.writer = w.writer) \
         AND NOT EXISTS (SELECT 1 FROM p99.lingering l WHERE l.writer = w.writer)"
    };
}

macro_rules! statements {
    ($($statement:ident = $name:literal,)*) => {
        /// A statement of a transaction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Statement {
            $($statement,)*
        }

        impl Statement {
            pub(super) const ALL: [Self; [$($name),*].len()] = [$(Self::$statement),*];

            /// Its name on a connection.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$statement => $name,)*
                }
            }
        }
    };
}

statements! {
    Begin = "p99_begin",
    Commit = "p99_commit",
    Fence = "p99_fence",
    Free = "p99_free",
    Change = "p99_change",
    Claim = "p99_claim",
    Roll = "p99_roll",
    Linger = "p99_linger",
    Relieve = "p99_relieve",
    SetSums = "p99_set_sums",
    PurgeTime = "p99_purge_time",
    StopWriters = "p99_stop_writers",
    ForgetRows = "p99_forget_rows",
    ForgetSums = "p99_forget_sums",
    CountPurge = "p99_count_purge",
    RenewWriters = "p99_renew_writers",
    Rows = "p99_rows",
    Whole = "p99_whole",
    Edge = "p99_edge",
    Open = "p99_open",
    Expired = "p99_expired",
    Lingering = "p99_lingering",
    Page = "p99_page",
    Holder = "p99_holder",
    Purges = "p99_purges",
    NextWriter = "p99_next_writer",
    Register = "p99_register",
    Doubt = "p99_doubt",
    Mine = "p99_mine",
    Adopt = "p99_adopt",
    CutEdge = "p99_cut_edge",
    Turn = "p99_turn",
    MoveCut = "p99_move_cut",
    Forget = "p99_forget",
    HoldDead = "p99_hold_dead",
    Fold = "p99_fold",
    Unfold = "p99_unfold",
    Bury = "p99_bury",
    Standing = "p99_standing",
}

impl Statement {
    #[allow(clippy::too_many_lines, reason = "the statements, one after the other")]
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Begin => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Self::Commit => "COMMIT",
            Self::Fence => {
                "UPDATE p99.writer SET batch = $3::bigint, nonce = $4::bigint, \
                 lease_until = now() + $7::int * interval '1 second', open_since = $6::bigint, \
                 whole = CASE $8::int WHEN 1 THEN $3::bigint ELSE whole END \
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
                 epoch = CASE WHEN u.heard = 1 OR u.change >= 2 OR (p.processor IS NULL AND \
                 u.processor >= 0) THEN $2::bigint ELSE p.epoch END, \
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
                 SELECT p.writer, p.processor, k.sec, count(*), sum(p.cents)::bigint \
                 FROM unnest($5::uuid[]) u(id), p99.payment p CROSS JOIN LATERAL \
                 (VALUES (p.at / 1000), (-1 - p.at / 3600000)) k(sec) WHERE ",
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
            // Instead of the role's own limit, in this transaction.
            Self::PurgeTime => "SELECT set_config('statement_timeout', $1::text, true)",
            // Their batches wait until the purge is over.
            Self::StopWriters => concat!("UPDATE p99.writer SET batch = batch WHERE ", guard!()),
            Self::ForgetRows => concat!("DELETE FROM p99.payment WHERE status >= 2 AND ", guard!()),
            Self::ForgetSums => concat!("DELETE FROM p99.rollup WHERE ", guard!()),
            Self::CountPurge => {
                concat!("UPDATE p99.meta SET purges = purges + 1 WHERE ", guard!())
            }
            // Who lived when it began could not renew its lease meanwhile. now() is that time.
            Self::RenewWriters => concat!(
                "UPDATE p99.writer SET lease_until = GREATEST(lease_until, \
                 clock_timestamp() + $5::int * interval '1 second') \
                 WHERE lease_until >= now() AND ",
                guard!()
            ),
            Self::Rows => concat!(
                "SELECT ",
                row!(),
                " FROM unnest($1::uuid[]) u(id) JOIN p99.payment p ON p.id = u.id \
                 LEFT JOIN p99.writer w ON w.writer = p.writer"
            ),
            // OFFSET keeps each writer's part a part, here and below: without it the planner, which
            // does not know the window yet, may read the index of all writers from end to end.
            Self::Whole => {
                "SELECT q.index, sum(e.n)::bigint, sum(e.cents)::text FROM p99.writer w \
                 CROSS JOIN p99.processor q CROSS JOIN LATERAL (SELECT r.n, r.cents \
                 FROM p99.rollup r WHERE r.writer = w.writer AND r.processor = q.index \
                 AND r.sec BETWEEN $1::bigint AND $2::bigint OFFSET 0) e GROUP BY q.index"
            }
            Self::Edge => {
                "SELECT e.processor, count(*), sum(e.cents)::text FROM p99.writer w \
                 CROSS JOIN LATERAL (SELECT p.processor, p.cents FROM p99.payment p \
                 WHERE p.writer = w.writer AND p.at BETWEEN $1::bigint AND $2::bigint \
                 AND p.status IN (2, 3, 6) AND p.processor IS NOT NULL OFFSET 0) e \
                 GROUP BY e.processor"
            }
            Self::Open => {
                "SELECT o.writer, w.batch, w.whole, count(*), \
                 max(CASE WHEN o.epoch < w.epoch OR w.lease_until < now() THEN 1 ELSE 0 END)::int \
                 FROM (SELECT e.id, e.writer, e.epoch FROM p99.writer v CROSS JOIN LATERAL \
                 (SELECT p.id, p.writer, p.epoch FROM p99.payment p WHERE p.writer = v.writer \
                 AND p.at >= v.open_since AND p.at BETWEEN $1::bigint AND $2::bigint \
                 AND p.status IN (0, 1) AND p.processor IS NOT NULL OFFSET 0) e UNION \
                 SELECT p.id, p.writer, p.epoch FROM p99.lingering l JOIN p99.payment p \
                 ON p.id = l.id AND p.writer + 0 = l.writer \
                 WHERE p.at BETWEEN $1::bigint AND $2::bigint AND p.status IN (0, 1) \
                 AND p.processor IS NOT NULL) o \
                 JOIN p99.writer w ON w.writer = o.writer GROUP BY o.writer, w.batch, w.whole"
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
                 WHERE l.writer = $1::int AND l.id >= $2::uuid AND p.status IN (0, 1) \
                 ORDER BY l.id LIMIT $3::int"
            ),
            Self::Page => concat!(
                "SELECT ",
                row!(),
                " FROM p99.payment p JOIN p99.writer w ON w.writer = p.writer \
                 WHERE p.writer = $1::int AND p.at >= $2::bigint \
                 AND (p.at > $2::bigint OR p.id >= $3::uuid) AND p.status IN (0, 1) \
                 ORDER BY p.at, p.id LIMIT $4::int"
            ),
            Self::Holder => "SELECT holder FROM p99.writer WHERE writer = $1::int",
            Self::Purges => "SELECT purges FROM p99.meta WHERE one = 1",
            Self::NextWriter => {
                "UPDATE p99.meta SET next_writer = next_writer + 1 WHERE one = 1 AND NOT importing"
            }
            Self::Register => {
                "INSERT INTO p99.writer (writer, epoch, batch, nonce, holder, lease_until) \
                 SELECT next_writer - 1, 1, 0, $1::bigint, $2::text, \
                 now() + $3::int * interval '1 second' FROM p99.meta \
                 WHERE one = 1 AND NOT importing AND ($4::text[] IS NULL OR NOT EXISTS \
                 (SELECT 1 FROM p99.processor q \
                 WHERE q.authority IS DISTINCT FROM ($4::text[])[q.index + 1])) \
                 RETURNING writer, epoch"
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
            Self::CutEdge => {
                "SELECT m.exact_from, CASE WHEN EXISTS (SELECT 1 FROM p99.writer w \
                 CROSS JOIN p99.processor q CROSS JOIN LATERAL (SELECT r.n, r.sec \
                 FROM p99.rollup r WHERE r.writer = w.writer AND r.processor = q.index \
                 AND r.sec BETWEEN $1::bigint AND $2::bigint OFFSET 0) e \
                 WHERE e.n > 0 AND e.sec < m.exact_from / 1000) THEN 1 ELSE 0 END::int \
                 FROM p99.meta m WHERE m.one = 1"
            }
            Self::Turn => {
                "UPDATE p99.writer SET nonce = $1::bigint, holder = $2::text, \
                 lease_until = now() + $3::int * interval '1 second' WHERE writer = 0 \
                 AND (nonce = $1::bigint OR lease_until < now()) \
                 AND EXISTS (SELECT 1 FROM p99.meta WHERE NOT importing)"
            }
            // Never further than what settled so long ago by the database's clock as it is now.
            Self::MoveCut => concat!(
                "UPDATE p99.meta SET cut = $3::bigint, \
                 exact_from = GREATEST(exact_from, $3::bigint) WHERE one = 1 \
                 AND COALESCE(cut, made - $4::bigint) = $2::bigint \
                 AND $2::bigint < $3::bigint AND $3::bigint + $4::bigint <= ",
                now_ms!(),
                " AND ",
                turn!()
            ),
            // A limit for each writer keeps the planner to its part of the index: with one limit
            // for all it hopes to meet enough old rows soon, and reads every young one.
            Self::Forget => concat!(
                "DELETE FROM p99.payment WHERE status >= 2 AND id IN (SELECT o.id \
                 FROM p99.meta m CROSS JOIN p99.writer w CROSS JOIN LATERAL \
                 (SELECT p.id FROM p99.payment p WHERE p.writer = w.writer AND p.at < m.cut \
                 AND p.status >= 2 AND p.settled_at < to_timestamp(m.cut / 1000) \
                 LIMIT $3::int) o WHERE m.one = 1 AND m.cut + $2::bigint <= ",
                now_ms!(),
                " AND ",
                turn!(),
                " LIMIT $3::int)"
            ),
            // It stays dead while its sums are moved: its instance waits for this lock.
            Self::HoldDead => concat!(
                "UPDATE p99.writer w SET batch = w.batch WHERE w.writer = $2::int AND ",
                dead!(),
                " AND ",
                turn!()
            ),
            Self::Fold => concat!(
                "INSERT INTO p99.rollup AS r (writer, processor, sec, n, cents) \
                 SELECT 0, o.processor, o.sec, o.n, o.cents FROM (SELECT processor, sec, n, cents \
                 FROM p99.rollup WHERE writer = $2::int ORDER BY processor, sec LIMIT $3::int) o \
                 WHERE EXISTS (SELECT 1 FROM p99.writer w WHERE w.writer = $2::int AND ",
                dead!(),
                ") AND ",
                turn!(),
                " ON CONFLICT (writer, processor, sec) DO UPDATE \
                 SET n = r.n + excluded.n, cents = r.cents + excluded.cents"
            ),
            Self::Unfold => concat!(
                "DELETE FROM p99.rollup r USING (SELECT processor, sec FROM p99.rollup \
                 WHERE writer = $2::int ORDER BY processor, sec LIMIT $3::int) o \
                 WHERE r.writer = $2::int AND r.processor = o.processor AND r.sec = o.sec \
                 AND EXISTS (SELECT 1 FROM p99.writer w WHERE w.writer = $2::int AND ",
                dead!(),
                ") AND ",
                turn!()
            ),
            Self::Bury => concat!(
                "DELETE FROM p99.writer w WHERE w.writer = $2::int AND ",
                dead!(),
                " AND NOT EXISTS (SELECT 1 FROM p99.rollup r WHERE r.writer = w.writer) AND ",
                turn!()
            ),
            Self::Standing => concat!(
                "SELECT ",
                now_ms!(),
                ", COALESCE(m.cut, m.made - $2::bigint), \
                 (SELECT min(w.writer)::bigint FROM p99.writer w WHERE ",
                dead!(),
                ") FROM p99.meta m WHERE m.one = 1 AND ",
                turn!()
            ),
        }
    }
}
