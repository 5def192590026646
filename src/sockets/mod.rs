//! Sockets that p99 opens itself, each with the deadline of its opener: to processors, to
//! peers and to the store. A deadline shuts the socket down; no future is dropped.
//!
//! - `reach`: a socket on its way to one address;
//! - `channel`: one that is connected, with a TLS session where it is spoken to so.
//!
//! It decides nothing: which address, which deadline and which words are the caller's.

mod channel;
mod reach;

pub(crate) use channel::{Channel, Speech, Unreached};
pub(crate) use reach::{
    Connecting, keep_from_children, reach_one, send_now, set_user_timeout, shut_down,
};
