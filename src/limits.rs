//! Every bound of p99 in one place (I8): no queue, map, buffer or loop grows without one of these
//! or a setting. Each constant says where its number comes from and what breaks if it moves.

use std::time::Duration;

// ---- clock ----

/// A wake-up that comes this much late means that the core did not run (throttled or descheduled).
/// Below it lies ordinary scheduling noise.
pub const STALL_MIN: Duration = Duration::from_millis(5);

// ---- payment ----

/// Longest correlationId in octets.
pub const CORRELATION_ID_BYTES_MAX: usize = 64;
/// Largest amount of one payment: 9,999,999,999.99. 2^63 cents hold 9.2 million of the largest
/// payments, and a ledger total is a u128, so no sum can overflow.
pub const AMOUNT_CENTS_MAX: u64 = 999_999_999_999;

// ---- wire ----

/// Deepest nesting of a JSON body, the number at which `serde_json` stops by itself. Members that
/// nobody asks for are skipped with a loop, so this guards no stack of ours: it keeps bodies out
/// that a balancer or log reader with a recursive parser would choke on.
pub const JSON_DEPTH_MAX: usize = 128;

// ---- config ----

/// Most worker cores. Cores talk in pairs, so rings grow with the square: 64 cores have 4,032
/// ordered pairs. More cores than that are better used by several instances.
pub const CORES_MAX: usize = 64;
/// Most entries of a setting that is a list. 32 peers already mean 32 calls for one summary.
pub const SETTING_LIST_MAX: usize = 32;
/// Longest path of a unix socket: `sun_path` has 108 octets and ends with a zero.
pub const UNIX_PATH_BYTES_MAX: usize = 107;
/// Longest host name (RFC 1035, section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;
/// Longest path of payments at a processor. With an id of 36 octets the request head stays small.
pub const PAY_PATH_BYTES_MAX: usize = 256;
/// Longest name of the header that carries the password.
pub const AUTH_NAME_BYTES_MAX: usize = 64;
/// Longest password in a header; it must fit in a request head beside everything else.
pub const AUTH_VALUE_BYTES_MAX: usize = 1_024;

// ---- breaker ----

/// Most probe permits of one breaker: `CB_HALF_OPEN_PROBES` is at most this. Probes are real
/// payments towards a processor in doubt, so few. Each costs one word beside the breaker's, and a
/// ticket names its place in one octet.
pub const BREAKER_PROBES_MAX: u32 = 100;
/// Longest rest that a processor's Retry-After may ask for.
pub const REST_MAX: Duration = Duration::from_secs(60);
/// While HalfOpen, whoever got no permit asks again after this: any core's result may have moved
/// the breaker. Shorter burns turns, longer lets payments wait although the processor works.
pub const BREAKER_ASK_AGAIN: Duration = Duration::from_millis(20);
