//! An entrance for the fuzz targets: whose request it is, as the rate limit sees it. Nothing in the
//! library calls it.

use std::net::IpAddr;

use super::clients;
use crate::config::AddressRange;
use crate::http::RequestHead;
use crate::rate_limit::Client;

/// The client behind `peer`; `bytes` begin where the head does.
#[must_use]
pub fn client_of(
    peer: Option<IpAddr>,
    head: &RequestHead,
    bytes: &[u8],
    trusted: &[AddressRange],
) -> Client {
    clients::client_of(peer, (head, bytes), trusted)
}
