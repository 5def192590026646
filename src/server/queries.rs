//! What the query of a summary or a purge asks for; a parameter that is not known, repeated or
//! without a good value is named. `calls` reads them; nothing here decides whether it may be asked.

use std::borrow::Cow;

use super::page::Page;
use crate::clock::UnixMillis;
use crate::pay::Scope;
use crate::wire::{Edge, QueryFault, read_edge, read_query};

/// A window of time, as a summary's query gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Option<UnixMillis>,
    pub(super) to: Option<UnixMillis>,
}

/// Reads a summary's query.
///
/// # Errors
/// 400, naming the parameter that is not known, repeated or has no good value.
pub(super) fn summary_query(query: &str) -> Result<(Window, Scope), Page> {
    let names = ["from", "to", "scope"];
    let [from, to, scope] =
        read_query(query, names).map_err(|fault| bad_query(fault, "from, to and scope"))?;
    let from = edge("from", from, Edge::From)?;
    let to = edge("to", to, Edge::To)?;
    Ok((Window { from, to }, read_scope(scope)?))
}

/// Reads a purge's query.
///
/// # Errors
/// Reads the query of a purge.
pub(super) fn purge_query(query: &str) -> Result<Scope, Page> {
    let [scope] = read_query(query, ["scope"]).map_err(|fault| bad_query(fault, "scope"))?;
    read_scope(scope)
}

fn bad_query(fault: QueryFault<'_>, known: &str) -> Page {
    let detail = match fault {
        QueryFault::Unknown(name) => {
            format!("the parameter {name:?} is not known; known are {known}")
        }
        QueryFault::Repeated(name) => format!("the parameter {name:?} is given twice"),
        QueryFault::BadEscape(name) => {
            format!("the parameter {name:?} has a malformed percent-encoding")
        }
    };
    Page::problem(400, &detail)
}

fn edge(name: &str, text: Option<Cow<'_, str>>, edge: Edge) -> Result<Option<UnixMillis>, Page> {
    let Some(text) = text else {
        return Ok(None);
    };
    let at = read_edge(&text, edge);
    at.map(Some).ok_or_else(|| {
        let detail = format!(
            "{name} is not a date and time with an offset, such as 2026-01-31T23:59:59.999Z"
        );
        Page::problem(400, &detail)
    })
}

fn read_scope(text: Option<Cow<'_, str>>) -> Result<Scope, Page> {
    match text.as_deref() {
        None => Ok(Scope::All),
        Some("local") => Ok(Scope::Local),
        Some("ask") => Ok(Scope::Ask),
        Some(_) => Err(Page::problem(400, "scope is local, ask or absent")),
    }
}
