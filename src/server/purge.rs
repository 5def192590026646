//! `POST /purge-payments`: what was settled is forgotten, on all shards. An id that is forgotten
//! may be charged again, so who asked is in the log and in the audit file, as for what operators
//! do. Whether it may be asked was judged before (`routes`, `guard`).

use super::connection::{After, Connection, Request, Stream};
use super::listen::ListenerRole;
use super::page::Page;
use super::queries;
use super::reply::Reply;
use crate::pay::{AskFault, OperatorCall, Scope};
use crate::payment::WindowSums;
use crate::wire;

const NOT_ALLOWED: &str = "ALLOW_PURGE is not true here";

impl<S: Stream> Connection<S> {
    pub(super) async fn purge(&mut self, request: &Request) -> After {
        if !self.core.runtime.config.allow_purge {
            self.note_purge(request, 403, NOT_ALLOWED);
            return self.say(request, &Reply::problem(403, NOT_ALLOWED));
        }
        let bytes = self.bytes_of(request);
        let query = request.head.query(bytes).unwrap_or_default();
        let scope = match queries::purge_query(query) {
            Ok(scope) => scope,
            Err(page) => {
                self.note_purge(request, page.status, "its query cannot be read");
                return self.show(request, &page);
            }
        };
        if self.flush().await.is_err() {
            return After::Cut;
        }
        self.watch.rest();
        let purged = self.core.runtime.purge(scope).await;
        match (&purged, scope) {
            // Another shard only asks whether this one could.
            (_, Scope::Ask) => {}
            (Ok(()), Scope::All) => self.note_purge(request, 200, "purged on all shards"),
            (Ok(()), Scope::Local) => self.note_purge(request, 200, "purged on this shard"),
            (Err(_), _) => self.note_purge(request, 503, "not purged, or not everywhere"),
        }
        match purged {
            Ok(()) if scope == Scope::All => self.say(request, &Reply::PURGED),
            Ok(()) => {
                let mut body = Vec::new();
                let introduction = self.core.runtime.introduce();
                wire::write_shard_summary(&WindowSums::default(), &introduction, &mut body);
                self.show(request, &Page::json(body))
            }
            Err(AskFault::Peers(gap)) => self.show(request, &Page::gap(gap)),
            Err(fault) => self.say(request, &Reply::to_question(fault)),
        }
    }

    /// Says what came of it. A public listener tells only what was done: anyone may ask there.
    fn note_purge(&self, request: &Request, status: u16, result: &str) {
        if self.peer.role == ListenerRole::Public && status != 200 {
            return;
        }
        let body = self.input.get(request.body_start..request.body_end);
        let note = wire::read_operator_note(body.unwrap_or_default()).ok();
        self.core.runtime.note_operator(&OperatorCall {
            path: request.head.path(self.bytes_of(request)),
            note: note.as_ref(),
            id: None,
            status,
            result,
        });
    }
}
