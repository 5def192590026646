//! Bounds that several rooms share, or that are bound to one another. A bound that one room alone
//! needs is in the file that keeps it. No queue, map, buffer or loop grows without a bound or a
//! setting (I8), and each constant says where its number comes from and what breaks if it moves.

use std::time::Duration;

// ---- payment ----

/// Largest amount of one payment: 9,999,999,999.99. 2^63 cents hold 9.2 million of the largest
/// payments, and a ledger total is a u128, so no sum can overflow.
pub const AMOUNT_CENTS_MAX: u64 = 999_999_999_999;

// ---- wire ----

/// Deepest nesting of a JSON body, the number at which `serde_json` stops by itself. Members that
/// no one asks for are skipped with a loop, so this guards no stack of ours: it keeps bodies out
/// that a balancer or log reader with a recursive parser would choke on.
pub const JSON_DEPTH_MAX: usize = 128;

// ---- config ----

/// Most worker cores. Cores talk in pairs, so rings grow with the square: 64 cores have 4,032
/// ordered pairs. More cores than that are better used by several instances.
pub(crate) const CORES_MAX: usize = 64;
/// Most entries of a setting that is a list. 32 peers already mean 32 calls for one summary.
pub(crate) const SETTING_LIST_MAX: usize = 32;
/// Most shards: one and all the PEERS that the list above can name.
pub(crate) const SHARDS_MAX: u16 = 33;
const _: () = assert!(SHARDS_MAX as usize == SETTING_LIST_MAX + 1);

// ---- breaker ----

/// Most probe permits of one breaker: `CB_HALF_OPEN_PROBES` is at most this. Probes are real
/// payments towards a processor in doubt, so few. Each costs one word beside the breaker's, and a
/// ticket names its place in one byte.
pub(crate) const BREAKER_PROBES_MAX: u32 = 100;

// ---- http ----

/// Largest head of a request or an answer. Browsers and load balancers stay below 4 KiB; 2,048
/// waiting clients hold at most 16 MiB of heads.
pub(crate) const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Longest request target: the longest that p99 serves (a summary window) has about 120 bytes.
pub(crate) const HTTP_TARGET_BYTES_MAX: usize = 2 * 1024;
/// Longest method: the longest registered one (`UPDATEREDIRECTREF`) has 17 bytes.
pub(crate) const HTTP_METHOD_BYTES_MAX: usize = 32;
/// X-Forwarded-For lines that are kept, the last ones: each proxy on the way adds at most one.
pub const FORWARDED_FOR_LINES_MAX: usize = 4;

const _: () = assert!(
    HTTP_HEAD_BYTES_MAX + 2 <= 65_535,
    "a span holds 16-bit positions"
);
const _: () = assert!(
    HTTP_METHOD_BYTES_MAX + HTTP_TARGET_BYTES_MAX + 12 < HTTP_HEAD_BYTES_MAX,
    "a request line of legal parts fits a head"
);

// ---- claims ----

/// Pending claims for which a core's map has room from the start, beside its settled ones. The
/// index has a power of two of places and is at most two thirds full, so with this number the
/// default of 500,000 settled claims leaves real room for 199,050 pending ones on one core and for
/// 99,525 on each of two, about QUEUE_CAPACITY. More of them make the index double once.
pub(crate) const CLAIMS_PENDING_ROOM: usize = 32_768;

// ---- logging ----

/// Longest wait at the end of the process for lines to be written.
pub(crate) const LOG_FLUSH_TIME_MAX: Duration = Duration::from_secs(2);
/// Lines at warn and error that one place in the code may log in each [`LOG_WINDOW`], then they are
/// counted: 20 lines show what is wrong, and 28,800 a day of 200 bytes are 6 MB.
pub(crate) const LOG_LINES_PER_PLACE: u32 = 20;
/// See [`LOG_LINES_PER_PLACE`]. An operator who looks at a log waits no longer for the count.
pub(crate) const LOG_WINDOW: Duration = Duration::from_secs(60);

// ---- probe ----

/// Addresses of one name that `p99 health` tries: those of both families, and some.
pub(crate) const PROBE_ADDRESSES_MAX: usize = 4;
/// Longest that each step of `p99 health` may take: connect, write, and each of few reads. The
/// usual health check gives it 3 s in all.
pub(crate) const PROBE_STEP_TIME_MAX: Duration = Duration::from_secs(1);

// ---- ledger ----

/// Largest piece of a ledger's snapshot: a piece that is almost full and the largest list (7,200
/// entries of 31 bytes), which only sums beyond any real money would fill.
pub(crate) const LEDGER_CHUNK_BYTES_MAX: usize = 320 * 1024;

// ---- journal ----

/// Bytes of the ledger in one snapshot frame, and of zeros that are written together.
pub(crate) const JOURNAL_PART_BYTES: usize = 1 << 20;
/// Inconsistent records that are logged word for word at a start, per core. None is the rule;
/// a fault that repeats shows itself in a few.
pub(crate) const JOURNAL_ODDITIES_TOLD: usize = 8;
/// Size of a segment: 12 minutes at 1,000 payments/s, of 103 bytes each.
pub(crate) const JOURNAL_SEGMENT_BYTES: u64 = 64 << 20;
/// Sealed segments of a core are merged into its snapshot once they hold this much (one segment,
/// which is never quite full) and a quarter of the snapshot: a start replays no more than that and
/// the segment in use, and merging writes at most four bytes for each that was appended.
///
/// A week at 1,000 payments/s with 500,000 claims: the snapshots hold 86.4 million payments of the
/// last 24 hours at no more than 5 bytes (432 MB; 2.7 measured with small amounts), six days of
/// whole seconds for two processors at 16 bytes (17 MB) and the claims at 27 (14 MB), together
/// 463 MB. Disk at its largest: old and new snapshots (926 MB), a quarter of them in segments
/// (116 MB), and per core one segment just sealed, one in use and one prepared (192 MiB): 1.5 GB
/// with two cores.
pub(crate) const JOURNAL_COMPACT_BYTES_MIN: u64 = 48 << 20;
/// Records that wait for the disk, per core. QUEUE_CAPACITY and CONCURRENCY_LIMIT bound them by
/// about 100,000 payments with three records of at most 148 bytes (45 MB); beyond this the disk
/// has stopped. One batch must fit a segment.
pub(crate) const JOURNAL_BUFFER_BYTES_MAX: usize = 48 << 20;
/// How long the Verdict of a charge that its client was told of may wait for a write to share. With
/// load the next Intent comes in less than a millisecond; alone, a payment costs one write more at
/// its end. It is also how many charges a crash leaves to be asked about: those of 50 ms.
pub const JOURNAL_LATER_MAX: Duration = Duration::from_millis(50);

/// First and longest pause before a failed compaction is tried again; it reads all of the core's
/// segments, which takes seconds where there are many.
pub(crate) const JOURNAL_COMPACT_PAUSE: Duration = Duration::from_secs(10);
/// See [`JOURNAL_COMPACT_PAUSE`].
pub(crate) const JOURNAL_COMPACT_PAUSE_MAX: Duration = Duration::from_secs(600);

const _: () = assert!(
    (JOURNAL_BUFFER_BYTES_MAX as u64) + 4096 < JOURNAL_SEGMENT_BYTES,
    "one batch fits one segment"
);

// ---- server and cores ----

/// How often addresses in use are tried again at a start, all together, and the pause between two
/// tries: 2 s. After `kill -9` io_uring holds a listener for some milliseconds; longer waits help
/// no one, and who starts a second instance by mistake shall hear so soon.
pub(crate) const LISTEN_TRIES_MAX: u32 = 100;
/// Send buffer of a client's TCP connection; the kernel doubles it for its own bookkeeping. Fixed,
/// it does not grow to the 4 MiB that the kernel allows by default for a client that reads
/// nothing: 1,000 such clients hold 64 MiB and not 4 GiB. Any answer but a metrics page fits in a
/// hundredth of it, and [`OUTPUT_BYTES_PIPELINED`] in half.
pub(crate) const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// The kernel cuts a connection whose client has taken nothing of what was sent for this long,
/// also one that p99 has closed already.
pub(crate) const UNREAD_TIME_MAX: Duration = Duration::from_secs(10);
/// What a connection's read buffer holds while it waits for a next request. The usual payment has
/// 250 bytes of head and 75 of body.
pub(crate) const INPUT_BYTES_IDLE: usize = 2 * 1024;
/// A read buffer that grew beyond this is given back when its connection turns idle. With 512 B of
/// output and about 1 KiB of task an idle connection stays below 6 KiB.
pub(crate) const INPUT_BYTES_KEPT: usize = 4 * 1024;
/// Unwritten answers to pipelined requests beyond which they are written before the next request
/// is looked at.
pub(crate) const OUTPUT_BYTES_PIPELINED: usize = 16 * 1024;

// ---- owner ----

/// Connections on which a late answer is still awaited, over all cores; the oldest is closed. Each
/// holds a file descriptor and about 3 KiB, so 4,096 hold 12 MiB.
pub(crate) const LATE_READS_MAX: usize = 4_096;
/// First pause before a promised payment that was refused is tried again. The breaker
/// paces the rest: it opens after CB_MIN_SAMPLES refusals.
pub(crate) const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest pause between two re-sends.
pub(crate) const RESEND_PAUSE_MAX: Duration = Duration::from_secs(30);

// ---- upstream ----

/// What one read of a sealed connection takes in; an answer with its record has under 400 bytes.
pub(crate) const TLS_READ_BYTES: usize = 4 * 1024;
/// Addresses of one name that are looked at and tried. A name that has more loses the last ones;
/// one answer over UDP holds at most 30 without an extension.
pub(crate) const ADDRESSES_MAX: usize = 64;

/// The next address of a name is tried after a third of CONNECT_TIMEOUT_MS, but not later than
/// this: longer than any healthy connect within a continent takes.
pub(crate) const CONNECT_STEP_MAX: Duration = Duration::from_millis(100);

// ---- store ----

/// How long a writer's lease is. It only says when another instance looks after its payments: six
/// seconds are three heartbeats, and longer than any pause of a healthy machine.
pub(crate) const STORE_LEASE: Duration = Duration::from_secs(6);
/// An answer of 200 before the verdict, and the first byte of an Intent, need a batch that was sent
/// less than this ago and acknowledged. Half the lease leaves the other half for the way.
pub(crate) const STORE_FRESH: Duration = Duration::from_secs(3);
const _: () = assert!(STORE_FRESH.as_millis() * 2 <= STORE_LEASE.as_millis());
/// Longest pause between two batches of an idle writer.
pub(crate) const STORE_HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a core that has not heard of the store for half a lease looks for none: after an outage
/// everybody's lease is over, and renewed with the first batch. It covers a pause and a login.
pub(crate) const STORE_LOOK_GRACE: Duration = Duration::from_secs(2);
const _: () = assert!(
    STORE_LOOK_GRACE.as_millis() > STORE_PAUSE_MAX.as_millis() + STORE_LOGIN_TIMEOUT.as_millis()
);
/// Open rows of an adopted writer in one page.
pub const STORE_PAGE_ROWS: u32 = 1_000;
/// Longest that a purge may take, which deletes every row.
pub(crate) const STORE_PURGE_MAX: Duration = Duration::from_secs(60);
/// How long the server may take for one statement of it. Less than the whole, so that a purge that
/// is too long for this is ended by the server, and what became of it need not be asked.
pub(crate) const STORE_PURGE_STATEMENT_MAX: Duration = Duration::from_secs(50);
const _: () = assert!(STORE_PURGE_STATEMENT_MAX.as_secs() < STORE_PURGE_MAX.as_secs());
/// How long it may take from a connection until p99 is logged in: a server makes a process first,
/// and a password of 4,096 rounds takes either end some milliseconds.
pub const STORE_LOGIN_TIMEOUT: Duration = Duration::from_secs(1);
/// First and longest pause before the hosts are tried again, and before a batch that the server
/// refused goes to it again.
pub(crate) const STORE_PAUSE_FIRST: Duration = Duration::from_millis(20);
/// See [`STORE_PAUSE_FIRST`].
pub(crate) const STORE_PAUSE_MAX: Duration = Duration::from_millis(250);
/// Bytes of one answer: a page of rows, the rows of a batch's questions.
pub const STORE_ANSWER_BYTES_MAX: usize = 16 << 20;

// ---- pay ----

/// Pending payments that one list shows, the oldest: at 300 bytes 60 KB, and who has more of them
/// asks a processor and not a list.
pub(crate) const PENDING_SHOWN_MAX: usize = 200;

/// How often a core looks at what no event tells it: overdue replies, new addresses.
pub const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(250);
/// Connections that one core keeps to one peer. Each question asks all peers at once, so this many
/// summaries go on together on one core, and the next one waits: no flood of questions takes ports.
pub(crate) const PEER_CONNECTIONS_MAX: usize = 4;
/// How long a peer may take to answer. It only adds up numbers: longer means that it is gone. A
/// start waits so long for the first answers before it takes payments.
pub(crate) const PEER_TIMEOUT: Duration = Duration::from_secs(1);

// ---- rate_limit ----

/// Client addresses whose budget is not whole at one time: 512 KiB of words. With more of them some
/// are forgotten early, which favours them.
pub(crate) const RATE_LIMIT_ADDRESSES: usize = 65_536;
/// How often a request tries to count itself against other cores' requests of the same line. Each
/// failure is another one's success, so this many in a row do not happen; if they do, it passes.
pub(crate) const RATE_LIMIT_TRIES_MAX: u32 = 64;

// ---- reconcile ----

/// Entries that are sorted at one time: 42 bytes each, so 32 MiB.
pub const RECONCILE_ENTRIES_MAX: usize = (32 << 20) / 42;
/// Rows of one book: three weeks at 100 a second. A longer one has no end, and its files, of 42
/// bytes a row, would fill TMPDIR.
pub(crate) const RECONCILE_ROWS_MAX: u64 = 200_000_000;
/// How often a journal is read anew because a running instance compacted it meanwhile. Each time
/// has 64 MiB of new records between, so even the second is rare.
pub(crate) const RECONCILE_READINGS_MAX: u32 = 10;

/// Payments younger than this are left out: they may be on their way while the books are read, and
/// a processor may list them late.
pub const RECONCILE_SETTLED: Duration = Duration::from_secs(60);

// ---- audit ----

/// Lines about one payment that are shown: one that is sent again twice a minute makes that many
/// in a day.
pub(crate) const AUDIT_ANSWER_LINES_MAX: usize = 10_000;
