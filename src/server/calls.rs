//! What each call does: reads its body, waits for the engine, puts the answer behind what is to be
//! written. The other half of a connection; `connection` reads requests and writes bytes.
//!
//! An answer that is ready never waits for one that takes time: what was answered is written before
//! the engine is asked. While it is asked the connection reads nothing, so the request's bytes
//! stay where they are. The rare calls are boxed, to keep the frame of every connection small.

use std::sync::Arc;

use super::connection::{After, Connection, Request, Stream};
use super::page::{Page, write_page};
use super::queries;
use super::reply::{Reply, ResponseContext, write_reply};
use super::routes::{self, Call};
use super::status;
use crate::config::CorrelationIdRule;
use crate::events::Trace;
use crate::http::{ConnectionField, Span};
use crate::metrics::Answered;
use crate::pay::{AskFault, Scope};
use crate::payment::CorrelationId;
use crate::peers::Footing;
use crate::timeline;
use crate::wire;

impl<S: Stream> Connection<S> {
    pub(super) async fn answer(&mut self, request: &Request) -> After {
        match request.call {
            Call::Refuse(reply) => {
                let path = request.head.path(self.bytes_of(request));
                self.note_refused(path, reply.status);
                self.say(request, &reply)
            }
            Call::Pay => self.pay(request).await,
            // Rare and large: kept out of the frame that every connection holds.
            Call::Find => Box::pin(self.find(request)).await,
            Call::Summary => Box::pin(self.summary(request)).await,
            Call::Purge => Box::pin(self.purge(request)).await,
            Call::Explain => Box::pin(self.explain(request)).await,
            Call::Live => self.show(request, &status::live_page()),
            Call::Status | Call::StatusText => Box::pin(self.status(request)).await,
            Call::List => Box::pin(self.list(request)).await,
            Call::Operate(operation) => Box::pin(self.operate(request, operation)).await,
            Call::Metrics => Box::pin(self.metrics(request)).await,
            Call::Describe => self.say(request, &Reply::DESCRIPTION),
            Call::Alive => self.say(request, &Reply::ALIVE),
            Call::Ready => {
                let reply = self.core.readiness();
                let footing = self.core.runtime.footing();
                match footing {
                    Footing::Well => self.say(request, &reply),
                    _ if reply.status != 200 => self.say(request, &reply),
                    Footing::Apart(trouble) => self.show(request, &Page::ready_although(trouble)),
                    Footing::Unasked | Footing::Disputed(_) => {
                        self.show(request, &Page::unready(footing))
                    }
                }
            }
        }
    }

    async fn pay(&mut self, request: &Request) -> After {
        let body = self
            .input
            .get(request.body_start..request.body_end)
            .unwrap_or_default();
        let demand_uuid = self.core.runtime.config.correlation_id == CorrelationIdRule::Uuid;
        let payment = match wire::read_payment(body, demand_uuid) {
            Ok(payment) => payment,
            Err(fault) => {
                let status = if fault.is_unreadable() { 400 } else { 422 };
                return self.say(request, &Reply::problem(status, fault.detail()));
            }
        };
        if !self
            .core
            .runtime
            .config
            .shards
            .own
            .owns(&payment.correlation_id)
        {
            return self.say(request, &Reply::WRONG_SHARD);
        }
        let footing = self.core.runtime.footing();
        if !footing.is_good() {
            return self.show(request, &Page::stopped(footing));
        }
        // An answer that is ready does not wait for one that takes time.
        if !self.output.is_empty() {
            if self.flush().await.is_err() {
                return After::Cut;
            }
            self.now = self.core.now();
        }
        self.watch.rest();
        let trace = self.trace(request);
        let answer = self.core.runtime.pay(payment, trace, self.now).await;
        // The event that brought the answer has read the clock.
        self.now = self.core.runtime.latest();
        match Reply::to_payment(answer) {
            Some(reply) => self.put(request, &reply, Some(&payment.correlation_id)),
            None => After::Cut,
        }
    }

    /// What the client sent to be sent on; allocates only when it sent something.
    fn trace(&self, request: &Request) -> Option<Arc<Trace>> {
        let (request_id, trace_parent) = (request.head.request_id, request.head.trace_parent);
        if request_id.is_none() && trace_parent.is_none() {
            return None;
        }
        let bytes = self.bytes_of(request);
        let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
        let (request_id, traceparent) = (request_id.map(text), trace_parent.map(text));
        Some(Arc::new(Trace {
            request_id,
            traceparent,
        }))
    }

    /// The id that a path names, if it can be one of this shard's; else what the client was told.
    /// What was answered before is written, since an answer may take a while.
    async fn own_id(
        &mut self,
        request: &Request,
        named: Option<CorrelationId>,
        unknown: &Reply,
    ) -> Result<CorrelationId, After> {
        let Some(id) = named else {
            return Err(self.say(request, unknown));
        };
        if !self.core.runtime.config.shards.own.owns(&id) {
            return Err(self.say(request, &Reply::WRONG_SHARD));
        }
        if self.flush().await.is_err() {
            return Err(After::Cut);
        }
        self.watch.rest();
        Ok(id)
    }

    async fn find(&mut self, request: &Request) -> After {
        const UNKNOWN: Reply = Reply::problem(404, "no payment with this id is known");
        let id = routes::id_in_path(request.head.path(self.bytes_of(request)));
        let id = match self.own_id(request, id, &UNKNOWN).await {
            Ok(id) => id,
            Err(after) => return after,
        };
        // It would deny what the right shard knows.
        let footing = self.core.runtime.footing();
        if !footing.is_good() {
            return self.show(request, &Page::stopped(footing));
        }
        match self.core.runtime.find(id.upstream_id()).await {
            Ok(Some(found)) => {
                let mut body = Vec::new();
                wire::write_found(&id, &found, &mut body);
                self.show(request, &Page::json(body))
            }
            Ok(None) => self.say(request, &UNKNOWN),
            Err(fault) => self.say(request, &Reply::to_question(fault)),
        }
    }

    /// What happened to one payment, as far as this process remembers it.
    async fn explain(&mut self, request: &Request) -> After {
        const UNKNOWN: Reply = Reply::problem(404, timeline::NOTHING);
        let id = routes::id_in_admin_path(request.head.path(self.bytes_of(request)));
        let id = match self.own_id(request, id, &UNKNOWN).await {
            Ok(id) => id,
            Err(after) => return after,
        };
        match self.core.runtime.explain(id.upstream_id()).await {
            Ok(facts) if facts.is_empty() => self.say(request, &UNKNOWN),
            Ok(facts) => {
                let mut body = format!(r#"{{"correlationId":"{}","events":"#, id.as_str());
                timeline::write_story(&facts, &mut body);
                body.push('}');
                self.show(request, &Page::json(body.into_bytes()))
            }
            Err(fault) => self.say(request, &Reply::to_question(fault)),
        }
    }

    async fn status(&mut self, request: &Request) -> After {
        if self.flush().await.is_err() {
            return After::Cut;
        }
        self.watch.rest();
        let status = self.core.status().await;
        let page = if request.call == Call::Status {
            status.json()
        } else {
            status.text()
        };
        self.show(request, &page)
    }

    async fn metrics(&mut self, request: &Request) -> After {
        if self.flush().await.is_err() {
            return After::Cut;
        }
        self.watch.rest();
        let page = self.core.metrics_page().await;
        self.show(request, &page)
    }

    async fn summary(&mut self, request: &Request) -> After {
        let bytes = self.bytes_of(request);
        let query = request.head.query(bytes).unwrap_or_default();
        let (window, scope) = match queries::summary_query(query) {
            Ok(asked) => asked,
            Err(page) => return self.show(request, &page),
        };
        if self.flush().await.is_err() {
            return After::Cut;
        }
        self.watch.rest();
        match self
            .core
            .runtime
            .summary(window.from, window.to, scope)
            .await
        {
            Ok(sums) => {
                let mut body = Vec::new();
                match scope {
                    Scope::All => wire::write_summary(&sums.charged, &mut body),
                    Scope::Local | Scope::Ask => {
                        let introduction = self.core.runtime.introduce();
                        wire::write_shard_summary(&sums, &introduction, &mut body);
                    }
                }
                self.show(request, &Page::summary(body, sums.pending))
            }
            Err(AskFault::Peers(gap)) => self.show(request, &Page::gap(gap)),
            Err(AskFault::CutsOldSecond { boundary }) => {
                let page = Page::cut_second(boundary);
                self.show(request, &page)
            }
            Err(fault) => self.say(request, &Reply::to_question(fault)),
        }
    }

    /// The bytes that `request` was parsed from; nothing is read while it is answered.
    pub(super) fn bytes_of(&self, request: &Request) -> &[u8] {
        self.input.get(request.start..).unwrap_or_default()
    }

    /// Puts `reply` behind what is to be written.
    pub(super) fn say(&mut self, request: &Request, reply: &Reply) -> After {
        self.now = self.core.now();
        self.put(request, reply, None)
    }

    /// The same at the moment that is known.
    fn put(&mut self, request: &Request, reply: &Reply, location: Option<&CorrelationId>) -> After {
        let bytes = self.input.get(request.start..).unwrap_or_default();
        let context = ResponseContext::new(&request.head, bytes, self.core.lifecycle.is_leaving());
        let context = ResponseContext {
            location,
            ..context
        };
        self.core.with_parts(self.now, |parts| {
            write_reply(reply, &context, parts, &mut self.output);
        });
        self.told(request, reply.status, context.connection)
    }

    /// Puts `page` behind what is to be written.
    pub(super) fn show(&mut self, request: &Request, page: &Page) -> After {
        self.now = self.core.now();
        let bytes = self.input.get(request.start..).unwrap_or_default();
        let context = ResponseContext::new(&request.head, bytes, self.core.lifecycle.is_leaving());
        self.core.with_parts(self.now, |parts| {
            write_page(page, &context, &parts, &mut self.output);
        });
        self.told(request, page.status, context.connection)
    }

    fn told(&self, request: &Request, status: u16, connection: ConnectionField) -> After {
        let (route, took) = (request.route, self.now.mono.since(request.since));
        self.core.note(
            Answered {
                route,
                status,
                took,
            },
            self.now.mono,
        );
        match connection {
            ConnectionField::Close => After::Closes,
            ConnectionField::Silent | ConnectionField::KeepAlive => After::Stays,
        }
    }
}
