//! Which call a request makes, and whether it may: path, method, door, rate limit, credentials and
//! media type, in this order. All of it is judged from the head alone, so that a client which asks
//! first (`Expect: 100-continue`) is refused before it sends a body.
//!
//! Called by `connection` once per request. Decides nothing about payments, and reads no body.

use std::net::IpAddr;

use subtle::ConstantTimeEq;

use super::Core;
use super::listen::{Door, Peer};
use super::reply::Reply;
use crate::clock::UnixMillis;
use crate::config::AddressRange;
use crate::http::{ContentType, Method, RequestHead};
use crate::limits;
use crate::metrics::Route;
use crate::pay::Scope;
use crate::payment::CorrelationId;
use crate::wire::{Edge, query_value, read_edge};

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
    /// `GET /metrics`
    Metrics,
    /// `GET /healthz`
    Alive,
    /// `GET /readyz`
    Ready,
    /// Nothing that it may have.
    Refuse(Reply),
}

impl Call {
    /// What it is counted as.
    pub(super) const fn route(self) -> Route {
        match self {
            Self::Pay => Route::Payments,
            Self::Find => Route::Payment,
            Self::Summary => Route::Summary,
            Self::Purge => Route::Purge,
            Self::Metrics => Route::Metrics,
            Self::Alive => Route::Healthz,
            Self::Ready => Route::Readyz,
            Self::Refuse(_) => Route::Other,
        }
    }
}

const NOT_FOUND: Reply = Reply::problem(404, "there is nothing here");
const READ_ONLY: Reply = Reply::problem(405, "this can only be read").allowing("GET, HEAD");
const POST_ONLY: Reply = Reply::problem(405, "this takes a POST").allowing("POST");
const ADMIN_ONLY: Reply = Reply::problem(403, "this is served on the administrator's listener");

/// A head and the octets that it was parsed from.
#[derive(Clone, Copy)]
struct Asked<'a> {
    head: &'a RequestHead,
    octets: &'a [u8],
}

/// Judges the head of one request; `octets` begin where it does. Says too what the request is
/// counted as, refused or not.
pub(super) fn judge(core: &Core, head: &RequestHead, octets: &[u8], peer: Peer) -> (Call, Route) {
    let Some(wanted) = place(head.path(octets)) else {
        return (Call::Refuse(NOT_FOUND), Route::Other);
    };
    let has_admin_door = !core.room.config.admin_listen.is_empty();
    let query = head.query(octets).unwrap_or_default();
    let asked = Asked { head, octets };
    let refusal = wrong_method(wanted, head.method)
        .or_else(|| {
            has_admin_door
                .then(|| wrong_door(wanted, query, peer.door))
                .flatten()
        })
        .or_else(|| too_often(core, wanted, asked, peer))
        .or_else(|| unauthorized(core, wanted, asked))
        .or_else(|| wrong_media(wanted, head));
    (refusal.map_or(wanted, Call::Refuse), wanted.route())
}

fn wrong_method(call: Call, method: Method) -> Option<Reply> {
    match (call, method) {
        (Call::Pay | Call::Purge, Method::Post) => None,
        (Call::Pay | Call::Purge, _) => Some(POST_ONLY),
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
        "/metrics" => Some(Call::Metrics),
        "/purge-payments" => Some(Call::Purge),
        _ => {
            let id = path.strip_prefix(limits::PAYMENTS_PATH_PREFIX)?;
            (!id.is_empty() && !id.contains('/')).then_some(Call::Find)
        }
    }
}

/// With ADMIN_LISTEN each door has calls of its own.
fn wrong_door(call: Call, query: &str, door: Door) -> Option<Reply> {
    match (door, call) {
        (Door::Admin, Call::Pay) => Some(NOT_FOUND),
        (Door::Public, Call::Metrics | Call::Purge) => Some(NOT_FOUND),
        (Door::Public, Call::Summary | Call::Find) => match scope(query) {
            Ok(Scope::Local) => Some(ADMIN_ONLY),
            Ok(Scope::All) | Err(_) => None,
        },
        (Door::Admin | Door::Public, _) => None,
    }
}

fn too_often(core: &Core, call: Call, asked: Asked<'_>, peer: Peer) -> Option<Reply> {
    let limit = core.rate_limit.as_ref()?;
    match (call, peer.door) {
        (Call::Alive | Call::Ready | Call::Metrics, _) | (_, Door::Admin) => return None,
        (Call::Pay | Call::Find | Call::Summary | Call::Purge | Call::Refuse(_), Door::Public) => {}
    }
    let trusted = &core.room.config.trusted_proxies;
    let client = client_address(peer.address, asked, trusted)?;
    let wait = limit.check(client, core.now().mono).err()?;
    core.metrics().rate_limited.increment();
    // Whole seconds, rounded up: a client that comes back earlier would be refused again.
    let seconds = wait
        .as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
        .max(1);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    Some(Reply::problem(429, "too many requests from this address").after(seconds))
}

/// The client behind `peer`: X-Forwarded-For counts only as far as trusted proxies wrote it. A
/// unix socket is a proxy on this machine. None where no address is known at all.
fn client_address(
    peer: Option<IpAddr>,
    asked: Asked<'_>,
    trusted: &[AddressRange],
) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut nearest = peer.map(|address| address.to_canonical());
    for hop in asked.head.forwarded_for.from_nearest(asked.octets) {
        if nearest.is_some_and(|address| !is_trusted(address)) || trusted.is_empty() {
            break;
        }
        let Some(address) = std::str::from_utf8(hop)
            .ok()
            .and_then(|hop| hop.parse().ok())
        else {
            break;
        };
        nearest = Some(IpAddr::to_canonical(&address));
    }
    nearest
}

/// Every POST carries the credentials, when there are any.
fn unauthorized(core: &Core, call: Call, asked: Asked<'_>) -> Option<Reply> {
    let auth = core.room.config.auth.as_ref()?;
    match call {
        Call::Pay | Call::Purge => {}
        Call::Find | Call::Summary | Call::Metrics | Call::Alive | Call::Ready => return None,
        Call::Refuse(_) => return None,
    }
    let given = asked
        .head
        .auth
        .map(|span| span.of(asked.octets))
        .unwrap_or_default();
    // The length is no secret; the comparison of equal lengths takes the same time for any octets.
    let is_right = bool::from(given.ct_eq(auth.value.reveal().as_bytes()));
    (!is_right).then_some(Reply::problem(401, "the credentials are missing or wrong"))
}

fn wrong_media(call: Call, head: &RequestHead) -> Option<Reply> {
    match (call, head.content_type) {
        (Call::Pay, ContentType::Other) => {
            Some(Reply::problem(415, "the body must be application/json"))
        }
        _ => None,
    }
}

/// The id in the path of `GET /payments/{id}`; none where the path names no possible id.
pub(super) fn id_in_path(path: &str) -> Option<CorrelationId> {
    let text = path.strip_prefix(limits::PAYMENTS_PATH_PREFIX)?;
    if !text.contains('%') {
        return CorrelationId::try_new(text).ok();
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let octet = after
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())?;
        decoded.push(char::from(octet));
        rest = after.get(2..)?;
    }
    decoded.push_str(rest);
    CorrelationId::try_new(&decoded).ok()
}

/// A window of time, as a summary's query gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Option<UnixMillis>,
    pub(super) to: Option<UnixMillis>,
}

/// Reads `from` and `to` out of a query.
///
/// # Errors
/// 400, when one of them is no date.
pub(super) fn window(query: &str) -> Result<Window, Reply> {
    let from = edge(query, "from", Edge::From)?;
    let to = edge(query, "to", Edge::To)?;
    Ok(Window { from, to })
}

fn edge(query: &str, name: &str, edge: Edge) -> Result<Option<UnixMillis>, Reply> {
    const BAD_DATE: Reply = Reply::problem(
        400,
        "from and to are ISO-8601 dates, each given at most once",
    );
    let Some(text) = query_value(query, name).map_err(|_| BAD_DATE)? else {
        return Ok(None);
    };
    read_edge(&text, edge).map(Some).ok_or(BAD_DATE)
}

/// Reads `scope` out of a query.
///
/// # Errors
/// 400, when it is neither `local` nor absent.
pub(super) fn scope(query: &str) -> Result<Scope, Reply> {
    match query_value(query, "scope").as_ref().map(Option::as_deref) {
        Ok(None) => Ok(Scope::All),
        Ok(Some("local")) => Ok(Scope::Local),
        Ok(Some(_)) | Err(_) => Err(Reply::problem(400, "scope is local or absent")),
    }
}

#[cfg(test)]
mod tests;
