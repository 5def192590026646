//! Every bound of p99 in one place (I8): no queue, map, buffer or loop grows without one of these
//! or a setting. Each constant says where its number comes from and what breaks if it moves.

use std::time::Duration;

// ---- clock ----

/// A wake-up that comes this much late means that the core did not run (throttled or descheduled).
/// Below it lies ordinary scheduling noise.
pub const STALL_MIN: Duration = Duration::from_millis(5);

// ---- payment ----

/// Longest correlationId in bytes.
pub const CORRELATION_ID_BYTES_MAX: usize = 64;
/// Largest amount of one payment: 9,999,999,999.99. 2^63 cents hold 9.2 million of the largest
/// payments, and a ledger total is a u128, so no sum can overflow.
pub const AMOUNT_CENTS_MAX: u64 = 999_999_999_999;

// ---- wire ----

/// Deepest nesting of a JSON body, the number at which `serde_json` stops by itself. Members that
/// no one asks for are skipped with a loop, so this guards no stack of ours: it keeps bodies out
/// that a balancer or log reader with a recursive parser would choke on.
pub const JSON_DEPTH_MAX: usize = 128;

/// Longest name and longest reason that an operator gives; both go into one line of the log.
pub const OPERATOR_TEXT_BYTES_MAX: usize = 200;

// ---- config ----

/// Most worker cores. Cores talk in pairs, so rings grow with the square: 64 cores have 4,032
/// ordered pairs. More cores than that are better used by several instances.
pub const CORES_MAX: usize = 64;
/// Most entries of a setting that is a list. 32 peers already mean 32 calls for one summary.
pub const SETTING_LIST_MAX: usize = 32;
/// Most shards: one and all the PEERS that the list above can name.
pub const SHARDS_MAX: u16 = 33;
const _: () = assert!(SHARDS_MAX as usize == SETTING_LIST_MAX + 1);
/// Longest path of a unix socket: `sun_path` has 108 bytes and ends with a zero.
pub const UNIX_PATH_BYTES_MAX: usize = 107;
/// Longest host name (RFC 1035, section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;
/// Longest path of payments at a processor. With an id of 36 bytes the request head stays small.
pub const PAY_PATH_BYTES_MAX: usize = 256;
/// Longest name of the header that carries the password.
pub const AUTH_NAME_BYTES_MAX: usize = 64;
/// Longest password in a header; it must fit in a request head beside everything else.
pub const AUTH_VALUE_BYTES_MAX: usize = 1_024;
/// Longest file with passwords: two of them with their line ends are 2,052 bytes.
pub const AUTH_FILE_BYTES_MAX: usize = 4_096;

/// Longest file with headers for a processor: a token of 4 KiB, its name, and some more lines. With
/// p99's own lines the head stays below the 8 KiB that servers take.
pub const UPSTREAM_HEADERS_BYTES_MAX: usize = 6 * 1024;

// ---- tls ----

/// Sessions that one core remembers for one processor, to go on with one instead of a whole
/// handshake: pooled connections come first, so few are ever wanted. Each takes about 2 KiB.
pub const TLS_SESSIONS_KEPT: usize = 64;
/// Longest file of certificates or a key. A machine's own list of authorities has 220 KB.
pub const PEM_BYTES_MAX: usize = 4 << 20;

// ---- breaker ----

/// Most probe permits of one breaker: `CB_HALF_OPEN_PROBES` is at most this. Probes are real
/// payments towards a processor in doubt, so few. Each costs one word beside the breaker's, and a
/// ticket names its place in one byte.
pub const BREAKER_PROBES_MAX: u32 = 100;
/// Attempts in flight at a processor of which nothing is known yet: 2 ms an answer and 16,000/s, or
/// 2 s an answer and 16/s, from where six rounds of doubling lead to 1,024.
pub const UPSTREAM_CONCURRENCY_FIRST: u32 = 32;
/// Fewest, whatever the processor says: enough to notice that it is well again.
pub const UPSTREAM_CONCURRENCY_MIN: u32 = 4;
/// Most that UPSTREAM_CONCURRENCY may ask for: the client ports of one address.
pub const UPSTREAM_CONCURRENCY_MAX: u32 = 65_536;
/// Idle connections to a processor over all cores, unless POOL_MAX_IDLE says another number: a
/// burst that needed more opens them again. 256 of them hold 1 MiB.
pub const POOL_IDLE_MAX: usize = 256;
/// Longest rest that a processor's Retry-After may ask for.
pub const REST_MAX: Duration = Duration::from_secs(60);
/// While HalfOpen, a payment without a permit asks again after this: any core's result may have
/// moved the breaker. Shorter burns turns, longer lets payments wait although the processor works.
pub const BREAKER_ASK_AGAIN: Duration = Duration::from_millis(20);
/// How long after one asked, payments that were never sent to a processor are believed to go on
/// coming: at one payment a second they still get its probes before pinned ones take them all. So
/// long do pinned payments alone wait for the second permit of a round.
pub const BREAKER_FRESH_HOPE: Duration = Duration::from_secs(1);

// ---- http ----

/// Largest head of a request or an answer. Browsers and load balancers stay below 4 KiB; 2,048
/// waiting clients hold at most 16 MiB of heads.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Most field lines of a head. A line has at least 4 bytes, so the byte limit alone would allow
/// 2,048 lines.
pub const HTTP_HEADERS_MAX: usize = 100;
/// Longest request target: the longest that p99 serves (a summary window) has about 120 bytes.
pub const HTTP_TARGET_BYTES_MAX: usize = 2 * 1024;
/// Longest method: the longest registered one (`UPDATEREDIRECTREF`) has 17 bytes.
pub const HTTP_METHOD_BYTES_MAX: usize = 32;
/// X-Forwarded-For lines that are kept, the last ones: each proxy on the way adds at most one.
pub const FORWARDED_FOR_LINES_MAX: usize = 4;
/// Longest X-Request-Id that is taken over; a UUID has 36 bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Digits of a chunk size: 16 hexadecimal digits fill 64 bits, so no size can overflow.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;
/// Bytes of all chunk extensions of one body: they carry nothing that p99 reads, and a body of
/// one-byte chunks must not be a way to send megabytes.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 1024;
/// Bytes of a trailer section, which is checked and dropped.
pub const TRAILER_BYTES_MAX: usize = 2 * 1024;
/// Interim (1xx) answers before a final one: p99 never asks for any.
pub const INTERIM_ANSWERS_MAX: usize = 4;

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
pub const CLAIMS_PENDING_ROOM: usize = 32_768;
/// Places of a core's claims whose memory is touched at the start: a first touch takes the kernel
/// as long as clearing 2 MiB, 0.3 to 5 ms (Linux 6.18, a virtual machine), in which a payment and
/// all behind it would stand still. At 56 bytes with their share of the index 56 MiB at most.
pub const CLAIMS_TOUCHED_MAX: usize = 1 << 20;

// ---- sim (the payment-processor simulator) ----

/// `POST /payments` at work at once; the 801st waits (the processor's contract).
pub const SIM_RUNNING_MAX: usize = 800;
/// `POST /payments` that wait for one of those places; the next one gets 429 (the processor's
/// contract).
pub const SIM_QUEUED_MAX: usize = 500;
/// `Retry-After` of a 429, and the span in which service-health has one permit (the processor's
/// contract).
pub const SIM_HEALTH_WINDOW: Duration = Duration::from_secs(5);
/// service-health calls that wait for the next permits; a third gets 429 (the processor's
/// contract).
pub const SIM_HEALTH_QUEUED_MAX: u32 = 2;
/// Ids remembered: about 80 bytes each, so 320 MB, four times the largest soak test. Beyond it an
/// insert answers 500, as a database without room does.
pub const SIM_ROWS_MAX: usize = 4_000_000;
/// Connections open at once: 1,300 requests of either processor's callers plus idle ones, several
/// times over. Beyond it a connection is closed at once.
pub const SIM_CONNECTIONS_MAX: usize = 8_192;
/// Connections that the kernel holds before they are accepted; it caps this at `somaxconn`.
pub const SIM_BACKLOG: i32 = 4_096;
/// Longest request head; ours are under 400 bytes.
pub const SIM_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest request body: a payment has 120 bytes, [`SIM_FAULTS_MAX`] faults have 150 each.
pub const SIM_BODY_BYTES_MAX: usize = 64 * 1024;
/// Scripted faults at once; every request looks at each of them.
pub const SIM_FAULTS_MAX: usize = 256;
/// Payments kept in the order of their arrival, for tests of orders and re-sends: 48 bytes each.
pub const SIM_LOG_MAX: usize = 100_000;
/// While refusing connections the accept loop looks this often whether it may listen again.
pub const SIM_REFUSING_PAUSE: Duration = Duration::from_millis(1);
/// A stop looks this often, a millisecond apart, whether every task has ended; they need one turn
/// of the loop each. Beyond it their descriptors stay open until the process ends.
pub const SIM_STOP_LOOKS_MAX: u32 = 2_000;
/// Pause after a failed accept: at the descriptor limit accept fails at once, for ever.
pub const SIM_ACCEPT_PAUSE: Duration = Duration::from_millis(10);

// ---- logging ----

/// Lines that wait for stderr. A busy second logs tens of lines; 1,024 outlast a pause of the
/// reader of many seconds. With the next constant at most 2 MiB.
pub const LOG_LINES_MAX: usize = 1_024;
/// Longest line; the rest is cut. A line with two ids and a header value takes under 400 bytes.
pub const LOG_LINE_BYTES_MAX: usize = 2_048;
/// Longest wait at the end of the process for lines to be written.
pub const LOG_FLUSH_TIME_MAX: Duration = Duration::from_secs(2);
/// Lines at warn and error that one place in the code may log in each [`LOG_WINDOW`], then they are
/// counted: 20 lines show what is wrong, and 28,800 a day of 200 bytes are 6 MB.
pub const LOG_LINES_PER_PLACE: u32 = 20;
/// See [`LOG_LINES_PER_PLACE`]. An operator who looks at a log waits no longer for the count.
pub const LOG_WINDOW: Duration = Duration::from_secs(60);
/// Places that are told apart; the code has about 50 that log at warn or error.
pub const LOG_PLACES_MAX: usize = 128;
/// While stopping, how often a line waits for room in the queue, and how long each time: 2 s
/// without any progress mean that stderr is stuck.
pub const LOG_WAITS_MAX: u32 = 2_000;
/// See [`LOG_WAITS_MAX`].
pub const LOG_WAIT: Duration = Duration::from_millis(1);

// ---- probe ----

/// Addresses of one name that `p99 health` tries: those of both families, and some.
pub const PROBE_ADDRESSES_MAX: usize = 4;
/// Longest that each step of `p99 health` may take: connect, write, and each of few reads. The
/// usual health check gives it 3 s in all.
pub const PROBE_STEP_TIME_MAX: Duration = Duration::from_secs(1);
/// How long `p99 ctl` and `p99 explain` wait for an answer: longer than the longest
/// REQUEST_TIMEOUT_MS and a slow disk together.
pub const QUESTION_TIME_MAX: Duration = Duration::from_secs(70);

// ---- supervisor ----

/// Longest that the main thread waits for a supervisor whose queue of datagrams is full (10 of them
/// where the kernel's default holds). Ten looks at signals and cores are late then.
pub const NOTIFY_TIME_MAX: Duration = Duration::from_secs(1);

// ---- ledger ----

/// Seconds that payments may arrive for at the same time without any list being written anew. A
/// processor that answers after 5 s settles payments of the last 5 s; later ones cost a few
/// microseconds each. Each open second takes 64 KB.
pub const LEDGER_OPEN_SECONDS: usize = 8;
/// A piece of a ledger's snapshot takes no further list from this size on.
pub const LEDGER_CHUNK_BYTES_FULL: usize = 64 * 1024;
/// Largest piece of a ledger's snapshot: a piece that is almost full and the largest list (7,200
/// entries of 31 bytes), which only sums beyond any real money would fill.
pub const LEDGER_CHUNK_BYTES_MAX: usize = 320 * 1024;

// ---- wheel ----

/// Slots of a core's timer wheel, one for each millisecond of 16 s: longer than every attempt's
/// wait, so only long pauses stay for another round. Four bytes a slot are 64 KiB, the bitmap 2
/// KiB. A multiple of 4,096, because one word of the upper bitmap stands for 64 x 64 slots.
pub const WHEEL_SLOTS: usize = 16_384;

// ---- journal ----

/// How often a journal that is in use is tried again, and the pause between two tries: 2 s. A
/// killed process of 100 MB was seen to hold its lock 50 ms longer on a busy machine; a second
/// instance on one journal is a mistake that shall be heard of soon.
pub const JOURNAL_LOCK_TRIES_MAX: u32 = 100;
/// See [`JOURNAL_LOCK_TRIES_MAX`].
pub const JOURNAL_LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Longest payload of one journal frame. A snapshot cuts its ledger into parts of
/// [`JOURNAL_PART_BYTES`], an owner's record has at most 132 bytes; a reader never buffers more.
pub const JOURNAL_PAYLOAD_BYTES_MAX: usize = 2 << 20;
/// Bytes of the ledger in one snapshot frame, and of zeros that are written together.
pub const JOURNAL_PART_BYTES: usize = 1 << 20;
/// Bytes that are looked at together behind the last record, on the stack.
pub const JOURNAL_SCAN_BYTES: usize = 32 << 10;
/// A write that passes the page cache by begins and ends at a multiple of this, in the file and in
/// memory: what nearly all disks and file systems demand is this or less.
pub const JOURNAL_BLOCK_BYTES: usize = 4096;
/// Settled claims in one snapshot frame: 256 of at most 37 bytes are 9.3 KiB.
pub const JOURNAL_CLAIMS_PER_FRAME: usize = 256;
/// Sends of a pending payment that replay remembers besides the open one, as the owner does: a
/// processor's stored `requestedAt` is compared with them.
pub const JOURNAL_EARLIER_MAX: usize = 4;
/// How often a backup opens the files of a running instance anew because a compaction came between.
/// One takes 64 MiB of new records at least, opening takes milliseconds.
pub const JOURNAL_BACKUP_TRIES_MAX: u32 = 10;
/// How long before a backup a payment may have got its `requestedAt` that is not in it: its Intent
/// was on its way to the disk. A sync of 5 s makes an instance not ready; twice that.
pub const JOURNAL_BACKUP_OVERLAP_MS: i64 = 10_000;
/// Files of one journal. 1,024 cores with a snapshot and 16 segments each, old and new epoch, are
/// 34,816; with more, compaction has failed for so long that a start is refused.
pub const JOURNAL_FILES_MAX: usize = 65_536;
/// Inconsistent records that are logged word for word at a start, per core. None is the rule;
/// a fault that repeats shows itself in a few.
pub const JOURNAL_ODDITIES_TOLD: usize = 8;
/// Size of a segment: 12 minutes at 1,000 payments/s, of 103 bytes each.
pub const JOURNAL_SEGMENT_BYTES: u64 = 64 << 20;
/// Size of each core's first segment after a start, which does not wait for zeros to be written:
/// 10,000 payments.
pub const JOURNAL_FIRST_SEGMENT_BYTES: u64 = 1 << 20;
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
pub const JOURNAL_COMPACT_BYTES_MIN: u64 = 48 << 20;
/// Records that wait for the disk, per core. QUEUE_CAPACITY and CONCURRENCY_LIMIT bound them by
/// about 100,000 payments with three records of at most 148 bytes (45 MB); beyond this the disk
/// has stopped. One batch must fit a segment.
pub const JOURNAL_BUFFER_BYTES_MAX: usize = 48 << 20;
/// How long the Verdict of a charge that its client was told of may wait for a write to share. With
/// load the next Intent comes in less than a millisecond; alone, a payment costs one write more at
/// its end. It is also how many charges a crash leaves to be asked about: those of 50 ms.
pub const JOURNAL_LATER_MAX: Duration = Duration::from_millis(50);
/// Longest frame of an owner's record: a header of 24 bytes, a mark, and a payload of 123, which
/// the Intent of a promised payment with a spelling of 64 bytes and an IPv6 address has. A
/// core that takes up payments from a journal may append one of these for each of them at once,
/// beyond [`JOURNAL_BUFFER_BYTES_MAX`]: no setting of today bounds how many there are.
pub const JOURNAL_RECORD_BYTES_MAX: usize = 148;
/// A buffer that a burst made larger than this is given back.
pub const JOURNAL_BUFFER_BYTES_KEPT: usize = 1 << 20;
/// How often the writer looks for a segment that is not prepared yet. Rare: 64 MiB were appended
/// faster than the next ones could be reserved.
pub const JOURNAL_PREPARE_PAUSE: Duration = Duration::from_millis(2);

/// How often the keeper tries again to reserve a segment that could not be had. A second is short
/// against the minutes that a segment lasts, and one failed `fallocate` costs microseconds.
pub const JOURNAL_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often a fault that lasts is logged.
pub const JOURNAL_FAULT_TOLD_EVERY: Duration = Duration::from_secs(60);
/// First and longest pause before a failed compaction is tried again; it reads all of the core's
/// segments, which takes seconds where there are many.
pub const JOURNAL_COMPACT_PAUSE: Duration = Duration::from_secs(10);
/// See [`JOURNAL_COMPACT_PAUSE`].
pub const JOURNAL_COMPACT_PAUSE_MAX: Duration = Duration::from_secs(600);

const _: () = assert!(
    (JOURNAL_BUFFER_BYTES_MAX as u64) + 4096 < JOURNAL_SEGMENT_BYTES,
    "one batch fits one segment"
);

// ---- reactor ----

/// Entries of a core's submission queue. One wait submits all that was queued since the last, so a
/// queue of 1,024 holds what 1,024 connections want in one turn; a full queue is flushed early,
/// not refused. 1,024 entries fit in 512 KiB of locked memory (Linux 6.18).
pub const RING_ENTRIES_MAX: u32 = 1_024;
/// The smallest ring that is tried under a tight RLIMIT_MEMLOCK; monoio takes no smaller one.
pub const RING_ENTRIES_MIN: u32 = 256;

// ---- server and cores ----

/// Connections that wait in a listening socket's queue; the kernel cuts it to net.core.somaxconn
/// (4,096 since Linux 5.4). At 20,000 connections a second it bridges 200 ms without an accept.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// How often addresses in use are tried again at a start, all together, and the pause between two
/// tries: 2 s. After `kill -9` io_uring holds a listener for some milliseconds; longer waits help
/// no one, and who starts a second instance by mistake shall hear so soon.
pub const LISTEN_TRIES_MAX: u32 = 100;
/// See [`LISTEN_TRIES_MAX`].
pub const LISTEN_PAUSE: Duration = Duration::from_millis(20);
/// How often a stop tries to lock the folder of a socket file, 10 ms apart: other processes hold
/// the lock for microseconds. Beyond it the file stays, and the next start replaces it.
pub const SOCKET_FILE_LOCK_TRIES_MAX: u32 = 20;
/// Most open client connections of a process, whatever the descriptor limit allows. At the 6 KiB
/// that an idle one costs, 65,536 of them are 384 MiB.
pub const CONNECTIONS_MAX: usize = 65_536;
/// Descriptors that the process holds from its start, beside those of cores and journal: the
/// standard streams, the log's pipe, signals, the resolver, the audit file.
pub const DESCRIPTORS_OWN: usize = 9;
/// Descriptors that no connection may have, beside those of cores and journal: a name lookup has
/// three files and sockets open, the metrics read two files of procfs, one is spare.
pub const DESCRIPTORS_RESERVED: usize = 6;
/// The descriptor limit where the kernel does not tell it: the usual soft one.
pub const DESCRIPTORS_ASSUMED: usize = 1_024;
/// Most connections that wait on one of the kept places: a probe asks each few seconds and takes
/// a millisecond, so sixteen serve thousands. Administrators and peers get as many.
pub const PROBE_PLACES_MAX: usize = 16;
/// Longest that a connection on such a place may take to send its request.
pub const PROBE_PLACE_TIME_MAX: Duration = Duration::from_secs(1);
/// Words that count the connections of client addresses: 128 KiB. With more addresses than that at
/// once some are not counted.
pub const CONNECTION_ADDRESSES: usize = 16_384;
/// Connections that one look chooses for closing, idle longest first: a look takes 0.1 ms at
/// 65,536 connections, so under a flood each closing costs 2 us.
pub const EVICTED_AT_ONCE_MAX: usize = 64;
/// After a look that found none idle the next one waits this long.
pub const EVICTION_LOOK_PAUSE: Duration = Duration::from_millis(10);
/// A connection that sent nothing for this long goes before one that was served and is idle: two
/// round trips around the world.
pub const FIRST_BYTE_PATIENCE: Duration = Duration::from_millis(500);
/// Refused and cut connections are logged once in this time, with their number.
pub const REFUSALS_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Send buffer of a client's TCP connection; the kernel doubles it for its own bookkeeping. Fixed,
/// it does not grow to the 4 MiB that the kernel allows by default for a client that reads
/// nothing: 1,000 such clients hold 64 MiB and not 4 GiB. Any answer but a metrics page fits in a
/// hundredth of it, and [`OUTPUT_BYTES_PIPELINED`] in half.
pub const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// The kernel cuts a connection whose client has taken nothing of what was sent for this long,
/// also one that p99 has closed already.
pub const UNREAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a core looks for late connections, changes of phase, and says that it runs. Client
/// deadlines are whole seconds, so a quarter of one is precise enough, and 65,536 connections are
/// swept in about 0.1 ms.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// A core that was not seen for this long makes the process unready. Eight sweeps: a throttled
/// container loses at most one period of 100 ms at a time.
pub const CORE_SILENCE_MAX: Duration = Duration::from_secs(2);
/// After this many looks of the main thread without a beat the core is given up and the process
/// ends, so that a supervisor can start it anew: 300 x 100 ms = 30 s in which this thread ran and
/// that core did not, which no disk or quota explains.
pub const CORE_LOOKS_MAX: u32 = 300;
/// How often the main thread looks at signals and cores.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Every so many looks it reads what the kernel knows of the process, for the metrics: once in 2 s.
pub const PROCFS_LOOKS: u32 = 20;
/// How many times DRAIN_DELAY_MS the listeners stay open after a journal failed: with the default
/// of 3 s that is 12 s, and a Prometheus that scrapes every 5 s sees the failure twice.
pub const FAILED_DRAIN_FACTOR: u32 = 4;
/// Pause after an accept that failed for want of descriptors: it fails at once again and again,
/// and without a pause it would take the whole core.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// The longest that a closing listener's queue is emptied; the balancer was told long before.
pub const ACCEPT_DRAIN_MAX: Duration = Duration::from_secs(1);
/// What a connection's read buffer holds while it waits for a next request. The usual payment has
/// 250 bytes of head and 75 of body.
pub const INPUT_BYTES_IDLE: usize = 2 * 1024;
/// A read buffer that grew beyond this is given back when its connection turns idle. With 512 B of
/// output and about 1 KiB of task an idle connection stays below 6 KiB.
pub const INPUT_BYTES_KEPT: usize = 4 * 1024;
/// The same for what is written: any answer but a metrics page fits in half of it.
pub const OUTPUT_BYTES_KEPT: usize = 1024;
/// What a read buffer may hold beyond the largest head and body: pipelined requests, and the
/// framing of a chunk.
pub const INPUT_BYTES_SPARE: usize = 4 * 1024;
/// Unwritten answers to pipelined requests beyond which they are written before the next request
/// is looked at.
pub const OUTPUT_BYTES_PIPELINED: usize = 16 * 1024;
/// How long a closed connection waits for its client to close too (RFC 9112, section 9.6).
pub const LINGER_MAX: Duration = Duration::from_secs(1);
/// Bytes that are read and dropped meanwhile.
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// Where a payment can be asked for.
pub const PAYMENTS_PATH_PREFIX: &str = "/payments/";
/// One of this many answered requests is logged.
pub const ACCESS_LOG_EVERY: u32 = 1_000;
/// How often a closing core looks whether anything is left to do.
pub const CLOSING_INTERVAL: Duration = Duration::from_millis(10);

// ---- latency ----

/// Length of a slice of recent latency; five of them are the window of ten seconds, in which a
/// processor's change of mood shows while a quiet minute does not hang on.
pub const LATENCY_SLICE: Duration = Duration::from_secs(2);
/// How long a quantile is used again. At 20,000 payments a second on a core this saves 199 of 200
/// walks through the histogram, and a hedge delay that is 10 ms old is as good as a new one.
pub const LATENCY_QUANTILE_AGE_MAX: Duration = Duration::from_millis(10);

// ---- mailbox ----

/// Hand-overs without reply that all ordered pairs of cores share: as many as 32 times the default
/// CONCURRENCY_LIMIT, so that an uneven spread of clients over cores is refused by that limit and
/// not by a ring.
pub const MAILBOX_LETTERS_TOTAL: usize = 65_536;
/// Least capacity of a ring: with 64 cores a core still hands over 4,032 payments at once.
pub const MAILBOX_CAPACITY_MIN: usize = 64;
/// Most of a ring: the default CONCURRENCY_LIMIT, all of it accepted by one core of two.
pub const MAILBOX_CAPACITY_MAX: usize = 2_048;

// ---- flow ----

/// How many earlier `requestedAt` of a payment are remembered, to know a stored one as ours. A
/// time goes out again only after a proven refusal, so one that is four refusals old can be stored
/// only by a processor that lied; it would then be reported as charged by another client.
pub const REQUESTED_AT_KEPT: usize = 4;

// ---- owner ----

/// The window of the hedge budget, one bucket a second.
pub const HEDGE_WINDOW_SECS: usize = 10;
/// The same as u64.
pub const HEDGE_WINDOW_SECS_U64: u64 = 10;
/// One extra attempt for every so many: 5 %.
pub const HEDGE_ONE_IN: u64 = 20;
/// The same while hedges lose: enough to notice when that changes.
pub const HEDGE_ONE_IN_WHILE_LOSING: u64 = 200;
/// Hedges of the window that must have been sent before their wins are judged.
pub const HEDGES_JUDGED_MIN: u64 = 20;
/// Hedges are worth it while at least one in so many wins. A saturated machine measured one win
/// in none of 1,357, at 3 % extra attempts.
pub const HEDGE_WINS_ONE_IN: u64 = 10;
/// Connections on which a late answer is still awaited, over all cores; the oldest is closed. Each
/// holds a file descriptor and about 3 KiB, so 4,096 hold 12 MiB.
pub const LATE_READS_MAX: usize = 4_096;
/// While payments wait for a breaker or a slot of another core's probe, routing is asked again
/// this often: five times faster than a client's shortest sensible patience.
pub const PUMP_INTERVAL: Duration = Duration::from_millis(5);
/// First and longest pause before a promised payment that was refused is tried again. The breaker
/// paces the rest: it opens after CB_MIN_SAMPLES refusals.
pub const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(50);
/// See [`RETRY_PAUSE_FIRST`].
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Shortest first pause before an unanswered payment is sent again; the real one is the larger of
/// this and four times the processor's p95.
pub const RESEND_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between two re-sends.
pub const RESEND_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Settled claims that expire are removed this many a tick, so that a tick stays short.
pub const EXPIRED_PER_TICK_MAX: usize = 64;
/// Seconds of the ledger that are aged in one tick.
pub const AGED_PER_TICK_MAX: usize = 64;

// ---- upstream ----

/// How long a connection that is there waits for a resolution of its name; then it ends.
pub const CONNECTION_PROVEN_WITHIN: Duration = Duration::from_secs(10);
/// First size of a connection's request buffer: head and body of a payment are about 320 bytes;
/// trace headers and credentials may double that.
pub const UPSTREAM_REQUEST_BYTES: usize = 512;
/// First size of a connection's answer buffer, and the step by which it grows: the processors'
/// answers are below 300 bytes.
pub const UPSTREAM_ANSWER_BYTES: usize = 1_024;
/// Longest body of an answer: a record with the history of its payment, or a page of a gateway
/// about an error. With the head's own bound it also bounds the buffer's growth.
pub const UPSTREAM_BODY_BYTES_MAX: usize = 64 * 1024;
/// What one read of a sealed connection takes in; an answer with its record has under 400 bytes.
pub const TLS_READ_BYTES: usize = 4 * 1024;
/// How long a peer over TLS 1.3 that asked for a certificate has to refuse it, or a quarter of
/// CONNECT_TIMEOUT_MS if that is less: one way there and back. One that gives tickets is waited for
/// no longer than it takes; one that gives none costs each new connection this much.
pub const TLS_VERDICT_WITHIN: Duration = Duration::from_millis(100);
/// How often it is looked whether that word has arrived.
pub const TLS_VERDICT_PAUSE: Duration = Duration::from_millis(1);
/// An answer's buffer that grew beyond this is given back after the answer: 256 idle connections
/// hold 1 MiB and not 18.
pub const UPSTREAM_ANSWER_BYTES_KEPT: usize = 4 * 1024;
/// Addresses of one name that are looked at and tried. A name that has more loses the last ones;
/// one answer over UDP holds at most 30 without an extension.
pub const ADDRESSES_MAX: usize = 64;
/// Resolutions in a row without an address after which it is gone.
pub const ABSENCES_MAX: u32 = 3;
/// Resolutions closer together than this are one absence: connects that fail ask many times a
/// second, and a server of names that answers wrongly does so for a moment.
pub const ABSENCE_SPACING: Duration = Duration::from_secs(1);
/// Pause between two resolutions of a name. A processor that closes after every answer makes each
/// connect wait for one, so it is short; with it the server of names
/// gets at most 1,000 questions a second.
pub const RESOLVE_PAUSE: Duration = Duration::from_millis(1);
/// The same after a failure, so that a dead name costs its server few questions.
pub const RESOLVE_PAUSE_FAILED: Duration = Duration::from_millis(250);
/// Resolutions that wait for one core; beyond it the newest is dropped, and the next one comes.
pub const RESOLVED_QUEUE_MAX: usize = 16;
/// A body on ADMIN_LISTEN may be this long whatever MAX_BODY_BYTES says.
pub const ADMIN_BODY_BYTES_MIN: usize = 4_096;

/// Retry-After while CACHE_CAPACITY ids are known and CACHE_FULL refuses, in seconds: room comes
/// back as slowly as ids grow old.
pub const CACHE_FULL_RETRY_AFTER_SECS: u32 = 30;

/// The next address of a name is tried after a third of CONNECT_TIMEOUT_MS, but not later than
/// this: longer than any healthy connect within a continent takes.
pub const CONNECT_STEP_MAX: Duration = Duration::from_millis(100);
/// While the queue of a unix socket is full, a connect is tried again after this: a server that
/// accepts takes some microseconds for each that waits before.
pub const CONNECT_QUEUE_PAUSE: Duration = Duration::from_millis(1);
/// Payments in doubt that one core asks about at once at a processor that moved. One proof is
/// enough for all, so more would only be load.
pub const IDENTITY_ASKS_MAX: u32 = 8;
/// First pause before a payment whose processor moved is asked about again; it doubles up to
/// [`RESEND_PAUSE_MAX`].
pub const IDENTITY_PAUSE_FIRST: Duration = Duration::from_secs(1);

/// How often the processors' files are looked at. A token that is renewed a minute before its end
/// is in use in time, and each look costs one stat a file.
pub const FILES_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Shortest pause between two readings, however many answers of 401 ask for one.
pub const FILES_READ_PAUSE: Duration = Duration::from_millis(500);

// ---- store ----

/// How long a writer's lease is. It only says when another instance looks after its payments: six
/// seconds are three heartbeats, and longer than any pause of a healthy machine.
pub const STORE_LEASE: Duration = Duration::from_secs(6);
/// An answer of 200 before the verdict, and the first byte of an Intent, need a batch that was sent
/// less than this ago and acknowledged. Half the lease leaves the other half for the way.
pub const STORE_FRESH: Duration = Duration::from_secs(3);
const _: () = assert!(STORE_FRESH.as_millis() * 2 <= STORE_LEASE.as_millis());
/// Longest pause between two batches of an idle writer.
pub const STORE_HEARTBEAT: Duration = Duration::from_secs(2);
/// The same while it has open rows or records wait: sums at other instances wait for two batches.
pub const STORE_HEARTBEAT_OPEN: Duration = Duration::from_millis(50);
/// Ids of one batch. At 256 a commit takes 4 ms (PostgreSQL 15, two cores); twice that is a burst.
pub const STORE_BATCH_IDS_MAX: usize = 512;
/// Records that wait for the store: QUEUE_CAPACITY (100,000 by default) payments with a verdict and
/// a next Intent each. Beyond it the core stops.
pub const STORE_QUEUE_MAX: usize = 262_144;
/// Questions that wait for one core's batches; one more is answered as unavailable at once.
pub const STORE_QUESTIONS_MAX: usize = 4_096;
/// Questions that one batch carries.
pub const STORE_QUESTIONS_A_BATCH: usize = 256;
/// Windows that one batch adds up: payments wait for what their batch reads.
pub const STORE_SUMS_A_BATCH: usize = 4;
/// How long a sum or a purge waits for the batches of other writers; then it is 503.
pub const STORE_SUM_PATIENCE: Duration = Duration::from_secs(1);
/// How long a question about one id waits for its writer; then what was read last is answered.
pub const STORE_FIND_PATIENCE: Duration = Duration::from_millis(100);
/// Pause before what has to be read again is read again.
pub const STORE_ASK_AGAIN: Duration = Duration::from_millis(5);
/// An open row that is older than this lingers: it is in a table of its own.
pub const STORE_LINGERS_AFTER: Duration = Duration::from_secs(60);
/// Rows that begin to linger with one batch.
pub const STORE_LINGERING_A_BATCH: usize = 64;
/// How often a core looks for writers whose lease is over.
pub const STORE_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long a core that has not heard of the store for half a lease looks for none: after an outage
/// everybody's lease is over, and renewed with the first batch. It covers a pause and a login.
pub const STORE_LOOK_GRACE: Duration = Duration::from_secs(2);
const _: () = assert!(
    STORE_LOOK_GRACE.as_millis() > STORE_PAUSE_MAX.as_millis() + STORE_LOGIN_TIMEOUT.as_millis()
);
/// How often a writer asks whether another instance has purged.
pub const STORE_PURGES_INTERVAL: Duration = Duration::from_secs(1);
/// Open rows of an adopted writer in one page.
pub const STORE_PAGE_ROWS: u32 = 1_000;
/// Ids whose acknowledged change is remembered, to name them if the database forgets it: some
/// seconds at 10,000 a second.
pub const STORE_ACKNOWLEDGED_KEPT: usize = 65_536;
/// How long a server may take for one transaction. Longer means that it, or the way to it, is gone.
pub const STORE_ANSWER_MAX: Duration = Duration::from_secs(1);
/// The same for a purge, which deletes every row.
pub const STORE_PURGE_MAX: Duration = Duration::from_secs(60);
/// How long an operator's call of a purge waits for its end: for other writers, and for that.
pub const STORE_PURGE_ANSWER_MAX: Duration = Duration::from_secs(65);
/// How long the server may take for one statement of it. Less than the whole, so that a purge that
/// is too long for this is ended by the server, and what became of it need not be asked.
pub const STORE_PURGE_STATEMENT_MAX: Duration = Duration::from_secs(50);
const _: () = assert!(STORE_PURGE_STATEMENT_MAX.as_secs() < STORE_PURGE_MAX.as_secs());
/// How long one address of STORE may take to be reached, and one name to be resolved.
pub const STORE_HOST_TIMEOUT: Duration = Duration::from_millis(250);
/// How long it may take from there until p99 is logged in: a server makes a process first, and a
/// password of 4,096 rounds takes either end some milliseconds.
pub const STORE_LOGIN_TIMEOUT: Duration = Duration::from_secs(1);
/// First and longest pause before the hosts are tried again, and before a batch that the server
/// refused goes to it again.
pub const STORE_PAUSE_FIRST: Duration = Duration::from_millis(20);
/// See [`STORE_PAUSE_FIRST`].
pub const STORE_PAUSE_MAX: Duration = Duration::from_millis(250);
/// Bytes of one message of the server: a row has under 400, an error with its context a few
/// thousand.
pub const STORE_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of one answer: a page of rows, the rows of a batch's questions.
pub const STORE_ANSWER_BYTES_MAX: usize = 16 << 20;
/// What one read of the server's answer takes in.
pub const STORE_READ_BYTES: usize = 16 * 1024;
/// Unacknowledged bytes are given up by the kernel after this (TCP_USER_TIMEOUT).
pub const STORE_TCP_USER_TIMEOUT: Duration = Duration::from_secs(2);
/// Writers that one core looks after besides its own.
pub const STORE_ADOPTED_MAX: usize = 64;
/// How often an id whose other claim was freed meanwhile is claimed again; then 503.
pub const STORE_CLAIMS_AGAIN_MAX: u32 = 2;
/// How long a client is kept beyond REQUEST_TIMEOUT_MS for a record that is being written.
pub const STORE_LAST_WORD: Duration = Duration::from_secs(1);
/// Longest file of passwords: some hundred lines.
pub const STORE_PASSWORD_FILE_BYTES_MAX: usize = 64 * 1024;
/// Descriptors set aside for each core's connections to the store: its own writer's, and those of
/// some that it adopted.
pub const STORE_CONNECTIONS_RESERVED: usize = 16;
/// How long an instance that stops waits for the store to take its last batch.
pub const STORE_CLOSE_MAX: Duration = Duration::from_secs(3);
/// How long ago the last batch that the store acknowledged may have been sent while an instance
/// says that it is ready.
pub const STORE_SILENCE_MAX: Duration = Duration::from_secs(5);
/// One fault of the store's connections is logged in so long.
pub const STORE_FAULTS_LOG_INTERVAL: Duration = Duration::from_secs(5);
/// How often a sweeper looks whether ids are old enough to be forgotten.
pub const STORE_SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Between two sweeps when more was found than one takes: at most 10,000 ids a second are
/// forgotten, and a sweeper has its connection for itself.
pub const STORE_SWEEP_PAUSE: Duration = Duration::from_millis(50);
/// Ids that one sweep forgets: 6 us each on the server, so batches wait for some 3 ms at most.
pub const STORE_SWEEP_ROWS: u32 = 500;
/// Seconds of a writer's sums that one sweep gives to writer 0.
pub const STORE_SWEEP_SUMS: u32 = 10_000;
/// How long a sweeper has its turn after its last sweep: two looks, and it is never hurried.
pub const STORE_SWEEP_TURN: Duration = Duration::from_secs(150);
/// How long one sweep may take: longer than the role's own limit for a statement.
pub const STORE_SWEEP_MAX: Duration = Duration::from_secs(10);
/// How far the database's clock may go from a sweeper's between two looks before it has jumped.
pub const STORE_CLOCK_TOLERANCE: Duration = Duration::from_secs(5);
/// How often `p99 store import` sends one batch, a pause and a question between, before it gives
/// up: some 10 s when the server refuses at once, as long as a failover takes.
pub const STORE_IMPORT_TRIES_MAX: u32 = 100;
/// Hosts that STORE may name.
pub const STORE_HOSTS_MAX: usize = 16;

// ---- pay ----

/// Pending payments that one list shows, the oldest: at 300 bytes 60 KB, and who has more of them
/// asks a processor and not a list.
pub const PENDING_SHOWN_MAX: usize = 200;
/// How often a line is logged about all payments: 1,440 a day of 300 bytes are 0.4 MB.
pub const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// How long beyond REQUEST_TIMEOUT_MS an owner core may stay silent before the client's connection
/// is closed without an answer (I1).
pub const OWNER_SILENCE: Duration = Duration::from_secs(1);
/// How long the metrics page waits for a core to write its gauges; then it shows what that core
/// wrote last. A core that is silent for longer is shown as not ready anyway.
pub const SHOW_PATIENCE: Duration = Duration::from_secs(1);
/// How many of the oldest unsettled payments operators are shown: one screen.
pub const PENDING_SHOWN: usize = 20;
/// How often a core looks at what no event tells it: overdue replies, new addresses.
pub const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(250);
/// How often connects under way are looked at; CONNECT_TIMEOUT_MS is exact to this.
pub const CONNECT_SWEEP_INTERVAL: Duration = Duration::from_millis(10);
/// The runtime's timers count in such steps.
pub const TIMER_STEP: Duration = Duration::from_millis(1);
/// A sync that takes longer turns readyz to 503.
pub const SYNC_SLOW: Duration = Duration::from_secs(5);
/// How long a processor's health route may take. It has its own clock: a slow health answer must
/// not count as a slow payment. Shorter than the processors' permit of five seconds.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often core 0 asks the other shards who they are. Two that claim one shard are seen within
/// this, and a connection that is kept is used before the other end closes it as idle.
pub const PEER_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Connections that one core keeps to one peer. Each question asks all peers at once, so this many
/// summaries go on together on one core, and the next one waits: no flood of questions takes ports.
pub const PEER_CONNECTIONS_MAX: usize = 4;
/// Within so long of the newest payment that was sent before it a payment settles, unless its core
/// sent nothing meanwhile: by this the age of a claim is told that a journal brings back.
pub const CLAIM_SETTLES_WITHIN: Duration = Duration::from_secs(3_600);
/// How long a peer may take to answer. It only adds up numbers: longer means that it is gone. A
/// start waits so long for the first answers before it takes payments.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(1);

// ---- rate_limit ----

/// Client addresses whose budget is not whole at one time: 512 KiB of words. With more of them some
/// are forgotten early, which favours them.
pub const RATE_LIMIT_ADDRESSES: usize = 65_536;
/// How often a request tries to count itself against other cores' requests of the same line. Each
/// failure is another one's success, so this many in a row do not happen; if they do, it passes.
pub const RATE_LIMIT_TRIES_MAX: u32 = 64;

// ---- reconcile ----

/// Entries that are sorted at one time: 42 bytes each, so 32 MiB.
pub const RECONCILE_ENTRIES_MAX: usize = (32 << 20) / 42;
/// Sorted files that are merged at the end, each with a reader of the size below: 4 MiB. More are
/// merged in two rounds.
pub const RECONCILE_RUNS_MAX: usize = 64;
/// So many sorted files that were merged equally often become one: 200 million entries are in at
/// most 30 files.
pub const RECONCILE_RUNS_MERGED: usize = 16;
/// Rows of one book: three weeks at 100 a second. A longer one has no end, and its files, of 42
/// bytes a row, would fill TMPDIR.
pub const RECONCILE_ROWS_MAX: u64 = 200_000_000;
/// How long the books of one comparison of RECONCILE_EVERY may take.
pub const RECONCILE_TIME_MAX: Duration = Duration::from_secs(3_600);
/// The same in intervals: who compares every minute wants to hear of a slow book within ten.
pub const RECONCILE_TIME_INTERVALS: u32 = 10;
/// How often a wait for a book's pipe looks whether its time is over.
pub const RECONCILE_PIPE_STEP: Duration = Duration::from_millis(100);
/// What is read of a sorted file, a book or an answer at one time.
pub const RECONCILE_READ_BYTES: usize = 64 << 10;
/// Longest row of a book: the longest id, amount and date take 150 bytes, so a longer one is a
/// quote that nothing closes.
pub const RECONCILE_ROW_BYTES_MAX: usize = 64 << 10;
/// Most columns of a book.
pub const RECONCILE_COLUMNS_MAX: usize = 1_024;
/// Faulty lines that are named: enough to see what is wrong with all of them.
pub const RECONCILE_FAULTS_TOLD: usize = 10;
/// How long a processor that lists its payments may be silent: it may sort millions first.
pub const RECONCILE_SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often a journal is read anew because a running instance compacted it meanwhile. Each time
/// has 64 MiB of new records between, so even the second is rare.
pub const RECONCILE_READINGS_MAX: u32 = 10;
/// How often the window is halved to find from when on a journal knows all ids: of a day six
/// minutes are left then. Each time the journal is read once more.
pub const RECONCILE_HALVINGS_MAX: u32 = 8;

/// Payments younger than this are left out: they may be on their way while the books are read, and
/// a processor may list them late.
pub const RECONCILE_SETTLED: Duration = Duration::from_secs(60);
/// How far back RECONCILE_EVERY looks each time: whatever is in doubt is settled within a day.
pub const RECONCILE_REACH: Duration = Duration::from_secs(24 * 3_600);
/// When it compares first, or earlier: one that is restarted every day compares nevertheless.
pub const RECONCILE_FIRST: Duration = Duration::from_secs(60);
/// How often its thread looks whether the process stops.
pub const RECONCILE_LOOK: Duration = Duration::from_secs(1);
/// Differences of one comparison that are named and remembered, double charges and others each: at
/// 200 bytes 4 MB, and the audit file takes as many lines. All are counted.
pub const RECONCILE_KEPT_MAX: usize = 10_000;
/// Double charges that are remembered as told, 100 bytes each: ten comparisons that find as many
/// new ones as they keep. No operator lets a processor go on after so many.
pub const RECONCILE_TOLD_MAX: usize = 100_000;
/// Descriptors that a comparison may need: at most 31 sorted files of the books and as many of the
/// journal, one that is written, a connection, the journal's and its own.
pub const RECONCILE_DESCRIPTORS: usize = 70;

// ---- timeline ----

/// Steps of payments that a core remembers: two for a plain payment, so the last 8,192 of them.
/// At 96 bytes 1.5 MiB a core, taken as they are written.
pub const TIMELINE_ENTRIES: usize = 16_384;
/// Most earlier steps that are passed on when a payment turns out not to be plain: it has been
/// sent, refused and planned a few times by then, and each of that makes three.
pub const TIMELINE_CATCH_UP_MAX: usize = 64;

// ---- probe ----

/// Longest answer that `p99 ctl` and `p99 explain` read: 1,000 pending payments of 300 bytes, or
/// 6,000 events.
pub const PROBE_ANSWER_BYTES_MAX: u64 = 1 << 20;

// ---- audit ----

/// Refused calls of operators that are told one by one in [`REFUSED_LINES_WINDOW`], then counted:
/// of at most 400 bytes, so 11 MB a day, and the four audit files last for six days of it.
pub const REFUSED_LINES_MAX: u32 = 20;
/// See [`REFUSED_LINES_MAX`].
pub const REFUSED_LINES_WINDOW: Duration = Duration::from_secs(60);
/// How often one of the last events says that a call was refused.
pub const REFUSED_EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of a refused call's path that are told: the longest good one has 89.
pub const REFUSED_PATH_BYTES_MAX: usize = 128;

/// Entries that wait for the audit file: each 8 to 16 bytes here and up to 150 where it points to,
/// so 0.7 MiB. With the next constant 40,960 a second at most, about 8 MB/s on the journal's disk.
pub const AUDIT_QUEUE_MAX: usize = 4_096;
/// How often the queue is emptied.
pub const AUDIT_INTERVAL: Duration = Duration::from_millis(100);
/// What waits in memory while the disk takes nothing; beyond it lines are left out, and counted.
pub const AUDIT_UNWRITTEN_BYTES_MAX: usize = 4 << 20;
/// Size at which the audit file is put aside: about 80,000 lines.
pub const AUDIT_FILE_BYTES_MAX: u64 = 16 << 20;
/// Files that are kept; with the size above they take 64 MiB of the journal's disk, and what one
/// interval adds.
pub const AUDIT_FILES_MAX: u32 = 4;
/// Lines about one payment that are shown: one that is sent again twice a minute makes that many
/// in a day.
pub const AUDIT_ANSWER_LINES_MAX: usize = 10_000;
