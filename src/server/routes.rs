//! Which call a request makes, and whether it may: rate limit, path, method, role, credentials and
//! media type, in this order. All of it is judged from the head alone, so that a client which asks
//! first (`Expect: 100-continue`) is refused before it sends a body.
//!
//! Called by `connection` once per request. Decides nothing about payments, and reads no body.

use super::Core;
use super::clients::client_of;
use super::guard;
use super::listen::{ListenerRole, Peer};
use super::reply::Reply;
use crate::http::{ContentCoding, ContentType, Method, RequestHead};
use crate::metrics::Route;
use crate::payment::{CorrelationId, Processor};
use crate::rate_limit::Client;
use crate::server::PAYMENTS_PATH_PREFIX;
use crate::wire::query_has;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `POST /payments`
    Pay,
    /// `GET /payments/{id}`
    Find,
    /// `GET /payments-summary`
    Summary,
    /// `POST /purge-payments`
    Purge,
    /// `GET /admin/payments/{id}/events`
    Explain,
    /// `GET /`: the live page
    Live,
    /// `GET /status.json`
    Status,
    /// `GET /status.txt`
    StatusText,
    /// `GET /admin/payments`
    List,
    /// What operators change.
    Operate(Operation),
    /// `GET /metrics`
    Metrics,
    /// `GET /openapi.json`
    Describe,
    /// `GET /healthz`
    Alive,
    /// `GET /readyz`
    Ready,
    /// Nothing that it may have.
    Refuse(Reply),
}

/// What an operator changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `POST /admin/processors/{name}/confirm`
    Confirm(Processor),
    /// `POST /admin/processors/{name}/pause`
    Pause(Processor),
    /// `POST /admin/processors/{name}/resume`
    Resume(Processor),
    /// `POST /admin/payments/{id}/resolve`
    Resolve,
    /// `POST /admin/log`
    SetLog,
    /// `POST /admin/settings`
    Set,
}

impl Call {
    /// What it is counted as.
    pub(super) const fn route(self) -> Route {
        match self {
            Self::Pay => Route::Payments,
            Self::Find => Route::Payment,
            Self::Summary => Route::Summary,
            Self::Purge => Route::Purge,
            Self::Explain | Self::List | Self::Operate(_) => Route::Admin,
            Self::Live | Self::Status | Self::StatusText => Route::Status,
            Self::Metrics => Route::Metrics,
            Self::Describe => Route::Openapi,
            Self::Alive => Route::Healthz,
            Self::Ready => Route::Readyz,
            Self::Refuse(_) => Route::Other,
        }
    }
}

/// What operators ask about payments.
const PAYMENTS: &str = "/admin/payments/";
/// What operators ask of a processor.
const PROCESSORS: &str = "/admin/processors/";
const NOT_FOUND: Reply = Reply::problem(404, "there is nothing here");
const READ_ONLY: Reply = Reply::problem(405, "this can only be read").with("Allow", "GET, HEAD");
const POST_ONLY: Reply = Reply::problem(405, "this takes a POST").with("Allow", "POST");
const ADMIN_ONLY: Reply = Reply::problem(403, "this is served on the administrator's listener");

const NO_PEER: Reply = Reply::problem(403, "shards ask this of each other, and show a secret");

/// What became of a request's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) call: Call,
    /// What the request is counted as, refused or not.
    pub(super) route: Route,
    /// Another shard asks, and has shown that it is one: no place for clients is needed.
    pub(super) is_peer: bool,
}

/// A head and the bytes that it was parsed from.
#[derive(Clone, Copy)]
struct Asked<'a> {
    head: &'a RequestHead,
    bytes: &'a [u8],
}

/// Judges the head of one request; `bytes` begin where it does. Says too what the request is
/// counted as, refused or not.
pub(super) fn judge(core: &Core, head: &RequestHead, bytes: &[u8], peer: Peer) -> Judged {
    let wanted = place(head.path(bytes)).unwrap_or(Call::Refuse(NOT_FOUND));
    let has_admin_door = !core.runtime.config.admin_listen.is_empty();
    let query = head.query(bytes).unwrap_or_default();
    let asked = Asked { head, bytes };
    let nothing_there = if let Call::Refuse(reply) = wanted {
        Some(reply)
    } else {
        None
    };
    let is_for_peers = is_for_peers(wanted, query);
    // What holds for clients does not hold for another shard.
    let is_peer = is_for_peers && shows_secret(core, asked);
    let is_stranger = is_for_peers && !is_peer && core.runtime.peer_secret.is_some();
    let for_clients = |refuse: &dyn Fn() -> Option<Reply>| (!is_peer).then(refuse).flatten();
    let refusal = for_clients(&|| too_often(core, wanted, asked, peer))
        .or(nothing_there)
        .or_else(|| only_for_operators(wanted, peer.role))
        .or_else(|| wrong_method(wanted, head.method))
        .or_else(|| {
            for_clients(&|| {
                (has_admin_door
                    .then(|| wrong_listener(wanted, query, peer.role))
                    .flatten())
                .or_else(|| is_stranger.then_some(NO_PEER))
                .or_else(|| unauthorized(core, wanted, asked))
            })
        })
        .or_else(|| {
            // Another shard has shown its own secret; a client's purge, where there is no listener
            // for operators, shows what clients show.
            let is_purge = wanted == Call::Purge && peer.role == ListenerRole::Admin && !is_peer;
            let is_change = matches!(wanted, Call::Operate(_)) || is_purge;
            let secret = core.runtime.admin_secret.as_ref();
            is_change.then(|| guard::refuse(secret, (head, bytes), peer, is_purge))?
        })
        .or_else(|| wrong_media(wanted, head));
    Judged {
        call: refusal.map_or(wanted, Call::Refuse),
        route: wanted.route(),
        is_peer,
    }
}

/// Whether it is what shards ask each other.
fn is_for_peers(call: Call, query: &str) -> bool {
    let is_scope = |scope| query_has(query, "scope", scope);
    matches!(call, Call::Summary | Call::Purge) && (is_scope("local") || is_scope("ask"))
}

/// Whether the request shows what shards show each other.
fn shows_secret(core: &Core, asked: Asked<'_>) -> bool {
    let secret = core.runtime.peer_secret.as_ref();
    let given = asked.head.peer_secret.map(|span| span.of(asked.bytes));
    secret
        .zip(given)
        .is_some_and(|(secret, given)| secret.accept(given))
}

/// What operators see and change is not there for anybody else, with ADMIN_LISTEN or without.
fn only_for_operators(call: Call, role: ListenerRole) -> Option<Reply> {
    let is_theirs = matches!(call.route(), Route::Admin | Route::Status);
    (is_theirs && role == ListenerRole::Public).then_some(NOT_FOUND)
}

fn wrong_method(call: Call, method: Method) -> Option<Reply> {
    match (call, method) {
        (Call::Pay | Call::Purge | Call::Operate(_), Method::Post) => None,
        (Call::Pay | Call::Purge | Call::Operate(_), _) => Some(POST_ONLY),
        (_, Method::Get | Method::Head) => None,
        (_, _) => Some(READ_ONLY),
    }
}

/// Which call lives at `path`.
fn place(path: &str) -> Option<Call> {
    match path {
        "/payments" => Some(Call::Pay),
        "/payments-summary" => Some(Call::Summary),
        "/healthz" => Some(Call::Alive),
        "/readyz" => Some(Call::Ready),
        "/" => Some(Call::Live),
        "/status.json" => Some(Call::Status),
        "/status.txt" => Some(Call::StatusText),
        "/metrics" => Some(Call::Metrics),
        "/openapi.json" => Some(Call::Describe),
        "/purge-payments" => Some(Call::Purge),
        "/admin/payments" => Some(Call::List),
        "/admin/log" => Some(Call::Operate(Operation::SetLog)),
        "/admin/settings" => Some(Call::Operate(Operation::Set)),
        _ if path.starts_with(PROCESSORS) => {
            let (name, task) = path.strip_prefix(PROCESSORS)?.split_once('/')?;
            let processor = Processor::of_name(name)?;
            Some(Call::Operate(match task {
                "confirm" => Operation::Confirm(processor),
                "pause" => Operation::Pause(processor),
                "resume" => Operation::Resume(processor),
                _ => return None,
            }))
        }
        _ if path.starts_with(PAYMENTS) => {
            let events = admin_id(path, "/events").map(|_| Call::Explain);
            let resolve = || admin_id(path, "/resolve");
            events.or_else(|| resolve().map(|_| Call::Operate(Operation::Resolve)))
        }
        _ => {
            let id = path.strip_prefix(PAYMENTS_PATH_PREFIX)?;
            (!id.is_empty() && !id.contains('/')).then_some(Call::Find)
        }
    }
}

/// Whether operators call this on their listener: what they ask about payments, and what changes
/// something.
pub(super) fn is_for_operators(path: &str) -> bool {
    place(path).is_some_and(|call| matches!(call.route(), Route::Admin | Route::Purge))
}

/// With ADMIN_LISTEN each listener has calls of its own.
fn wrong_listener(call: Call, query: &str, role: ListenerRole) -> Option<Reply> {
    match (role, call) {
        (ListenerRole::Admin, Call::Pay) => Some(NOT_FOUND),
        (ListenerRole::Public, Call::Metrics | Call::Purge) => Some(NOT_FOUND),
        (ListenerRole::Public, Call::Summary | Call::Find) => (query_has(query, "scope", "local")
            || query_has(query, "scope", "ask"))
        .then_some(ADMIN_ONLY),
        (ListenerRole::Admin | ListenerRole::Public, _) => None,
    }
}

/// Every call on a public listener counts but a probe: a balancer that was told 429 would take the
/// instance out.
fn too_often(core: &Core, call: Call, asked: Asked<'_>, peer: Peer) -> Option<Reply> {
    if !core.rate_limit.is_on() {
        return None;
    }
    match (call, peer.role) {
        (Call::Alive | Call::Ready, _) | (_, ListenerRole::Admin) => return None,
        (
            Call::Pay
            | Call::Find
            | Call::Summary
            | Call::Purge
            | Call::Explain
            | Call::Live
            | Call::Status
            | Call::StatusText
            | Call::List
            | Call::Operate(_)
            | Call::Metrics
            | Call::Describe
            | Call::Refuse(_),
            ListenerRole::Public,
        ) => {}
    }
    let trusted = &core.runtime.config.trusted_proxies;
    let client = client_of(peer.address, (asked.head, asked.bytes), trusted);
    if client == Client::Unknown {
        core.metrics().clients_unknown.increment();
    }
    let wait = core.rate_limit.check(client, core.now().mono).err()?;
    core.metrics().rate_limited.increment();
    // Whole seconds, rounded up: a client that comes back earlier would be refused again.
    let seconds = wait
        .as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
        .max(1);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    Some(Reply::problem(429, "too many requests from this address").after(seconds))
}

/// Every call but a probe needs the credentials, when there are any; AUTH_READS=off opens those
/// that only read.
fn unauthorized(core: &Core, call: Call, asked: Asked<'_>) -> Option<Reply> {
    let credentials = core.runtime.credentials.as_ref()?;
    match call {
        Call::Pay | Call::Purge | Call::Operate(_) => {}
        Call::Find
        | Call::Summary
        | Call::Explain
        | Call::List
        | Call::Status
        | Call::StatusText
        | Call::Metrics
        | Call::Describe => {
            if !credentials.guards_reads() {
                return None;
            }
        }
        // The page is the same for everybody; what it shows it has to ask for.
        Call::Live | Call::Alive | Call::Ready | Call::Refuse(_) => return None,
    }
    let given = asked
        .head
        .auth
        .map(|span| span.of(asked.bytes))
        .unwrap_or_default();
    (!credentials.accept(given))
        .then_some(Reply::problem(401, "the credentials are missing or wrong"))
}

fn wrong_media(call: Call, head: &RequestHead) -> Option<Reply> {
    match (call, head.content_coding, head.content_type) {
        (Call::Pay | Call::Purge | Call::Operate(_), ContentCoding::Other, _) => Some(
            Reply::problem(415, "the body must not have a content coding")
                .with("Accept-Encoding", "identity"),
        ),
        // A purge's body says nothing: only from operators must it be of one kind (`guard`).
        (Call::Pay | Call::Operate(_), ContentCoding::Identity, ContentType::Other) => Some(
            Reply::problem(415, "the body must be application/json")
                .with("Accept", "application/json"),
        ),
        _ => None,
    }
}

/// The text between what operators ask about payments and `end`.
fn admin_id<'a>(path: &'a str, end: &str) -> Option<&'a str> {
    let id = path.strip_prefix(PAYMENTS)?.strip_suffix(end)?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

/// The id in the path of an operator's question about one payment.
pub(super) fn id_in_admin_path(path: &str) -> Option<CorrelationId> {
    read_id(path.strip_prefix(PAYMENTS)?.split('/').next()?)
}

/// The id in the path of `GET /payments/{id}`; none where the path names no possible id.
pub(super) fn id_in_path(path: &str) -> Option<CorrelationId> {
    read_id(path.strip_prefix(PAYMENTS_PATH_PREFIX)?)
}

fn read_id(text: &str) -> Option<CorrelationId> {
    if !text.contains('%') {
        return CorrelationId::try_new(text).ok();
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let byte = after
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())?;
        decoded.push(char::from(byte));
        rest = after.get(2..)?;
    }
    decoded.push_str(rest);
    CorrelationId::try_new(&decoded).ok()
}

#[cfg(test)]
mod tests;
