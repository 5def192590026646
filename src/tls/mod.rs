//! TLS as a client: who is believed, who p99 is, and one session as a machine that turns bytes into
//! bytes. Pure: no socket, no file, no task. `config` checks what files hold, `sockets` moves the
//! bytes of processors and of the store.
//!
//! - `material`: certificates and keys out of PEM, and the settings of sessions made of them;
//! - `identity`: p99's own certificate, and whether the peer asks for it;
//! - `session`: one session.
//!
//! rustls does the work, with ring. What is fixed here: TLS 1.2 and 1.3, one protocol by ALPN, and
//! no early data: what the network may repeat would be a second charge. An end without
//! close_notify ends nothing (I4): [`Session::has_ended`] tells the two apart.

mod identity;
mod material;
mod session;

pub(crate) use material::{Client, Material, MaterialFault, peer_name, unverified_postgresql};
pub(crate) use session::Session;
