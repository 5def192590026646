//! Whether a call that changes something comes from an operator: by a unix socket, which only those
//! can open who may, or with ADMIN_SECRET_FILE's value; and never from a page of another origin in
//! an operator's browser. Judged from the head alone; `routes` asks.
//!
//! Host and Origin: a browser names the page that asks. It must be a page of this listener, under
//! an address or `localhost`: any other name may be made to lead here by its owner.

use std::net::IpAddr;

use super::listen::Peer;
use super::reply::Reply;
use crate::credentials::Credentials;
use crate::http::{self, ContentType, Framing, RequestHead};

const OTHER_ORIGIN: Reply = Reply::problem(403, "a page of another origin may not ask for this");
const NO_SECRET: Reply = Reply::problem(
    403,
    "this needs the value of ADMIN_SECRET_FILE as X-P99-Admin-Secret, unless it comes by a unix \
     socket",
);
const NOT_JSON: Reply = Reply::problem(415, "the body must be application/json, and say so")
    .with("Accept", "application/json");

/// Refuses what no operator sent. With `may_be_bare` a body that is not there needs no media type.
pub(super) fn refuse(
    secret: Option<&Credentials>,
    (head, bytes): (&RequestHead, &[u8]),
    peer: Peer,
    may_be_bare: bool,
) -> Option<Reply> {
    let fields = bytes.get(..head.head_bytes).unwrap_or_default();
    let find = |name| http::find_field(fields, name);
    if let Some(origin) = find("origin") {
        let host = find("host").flatten().unwrap_or_default();
        let is_own = origin.is_some_and(|origin| origin.strip_prefix("http://") == Some(host));
        if !is_own || !is_address(host) {
            return Some(OTHER_ORIGIN);
        }
    }
    let shown = find("x-p99-admin-secret").flatten();
    let is_shown = secret
        .zip(shown)
        .is_some_and(|(secret, shown)| secret.accept(shown.as_bytes()));
    if peer.address.is_some() && !is_shown {
        return Some(NO_SECRET);
    }
    let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
    let is_bare = may_be_bare && !has_body && head.content_type == ContentType::Missing;
    (head.content_type != ContentType::Json && !is_bare).then_some(NOT_JSON)
}

/// Whether a Host is an address or `localhost`, with or without a port.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::listen::ListenerRole;
    use super::*;
    use crate::config::{AuthHeader, Secret};
    use crate::http::{HeadRules, parse_head};

    fn status(fields: &str, is_unix: bool) -> Option<u16> {
        let bare = status_behind("", fields, is_unix);
        let behind_a_line = status_behind("\r\n", fields, is_unix);
        assert_eq!(bare, behind_a_line, "{fields}");
        bare
    }

    fn status_behind(before: &str, fields: &str, is_unix: bool) -> Option<u16> {
        let secret = Credentials::new(&AuthHeader {
            setting: "ADMIN_SECRET_FILE",
            name: "x-p99-admin-secret".to_owned(),
            values: ["new", "old"].map(|one| Secret::new(one.to_owned())).into(),
            file: None,
            guards_reads: true,
        });
        let text = format!(
            "{before}POST /admin/log HTTP/1.1\r\n{fields}\r\nhidden: X-P99-Admin-Secret: new"
        );
        let head = parse_head(text.as_bytes(), &HeadRules::default());
        let head = head.unwrap().unwrap();
        let peer = Peer {
            address: (!is_unix).then(|| [127, 0, 0, 1].into()),
            role: ListenerRole::Admin,
        };
        let reply = refuse(Some(&secret), (&head, text.as_bytes()), peer, false);
        reply.map(|reply| reply.status)
    }

    #[test]
    fn an_operator_shows_the_secret_or_comes_by_a_unix_socket() {
        const JSON: &str = "Content-Type: application/json\r\n";
        const KEY: &str = "X-P99-Admin-Secret: old\r\n";
        const TWICE: &str = "X-P99-Admin-Secret: new\r\nX-P99-Admin-Secret: new\r\n";
        let page = |host: &str, origin: &str| format!("Host: {host}\r\nOrigin: {origin}\r\n");
        let own = |host: &str| page(host, &format!("http://{host}"));
        let curl = || "Host: a\r\n".to_owned();
        let never = [Some(403), Some(403)];
        #[rustfmt::skip]
        let rows = [
            (curl(), KEY, JSON, [None, None]),
            (curl(), "", JSON, [Some(403), None]),
            (curl(), "x-p99-ADMIN-secret:   new  \r\n", JSON, [None, None]),
            (curl(), "X-P99-Admin-Secret: newer\r\n", JSON, [Some(403), None]),
            // Given twice it is none.
            (curl(), TWICE, JSON, [Some(403), None]),
            (curl(), KEY, "", [Some(415), Some(415)]),
            (curl(), KEY, "Content-Type: text/plain\r\n", [Some(415), Some(415)]),
            (own("127.0.0.1:9"), KEY, JSON, [None, None]),
            (own("[::1]:9"), KEY, JSON, [None, None]),
            (own("localhost"), KEY, JSON, [None, None]),
            (page("127.0.0.1:9", "http://127.0.0.1:8"), KEY, JSON, never),
            (page("127.0.0.1:9", "null"), KEY, JSON, never),
            // A name that its owner made lead here.
            (own("evil.example:9"), KEY, JSON, never),
            (own("localhost") + "Origin: http://b\r\n", KEY, JSON, never),
        ];
        for (hosts, key, media, expected) in rows {
            let fields = format!("{hosts}{key}{media}");
            let found = [false, true].map(|is_unix| status(&fields, is_unix));
            assert_eq!(found, expected, "{fields}");
        }
    }
}
