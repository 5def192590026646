//! What operators ask over ADMIN_LISTEN: the list of pending payments, and the calls that change
//! something. Each of these needs a name and a reason, and leaves a line in the log and in the
//! audit file, whatever came of it. Whether an operator sent it was judged before (`guard`).

use super::connection::{After, Connection, Request, Stream};
use super::listen::ListenerRole;
use super::page::Page;
use super::reply::Reply;
use super::routes::{self, Operation};
use crate::config;
use crate::journal::operator::Resolution;
use crate::logging;
use crate::owner::{PendingView, Unresolvable};
use crate::pay::{Kept, OperatorCall, SteerFault, Unresolved};
use crate::payment::{CorrelationId, Processor, Status};
use crate::timeline::reason_name;
use crate::wire::{self, NoteFault};

/// What came of a call: its status and why, in words for the operator.
type Outcome = (u16, String);

impl<S: Stream> Connection<S> {
    /// The oldest pending payments.
    pub(super) async fn list(&mut self, request: &Request) -> After {
        if self.flush().await.is_err() {
            return After::Cut;
        }
        self.watch.rest();
        match self.core.runtime.list().await {
            Ok((views, count)) => {
                let views: Vec<String> = views.iter().map(view).collect();
                let body = format!(r#"{{"pending":{count},"oldest":[{}]}}"#, views.join(","));
                self.show(request, &Page::json(body.into_bytes()))
            }
            Err(fault) => self.say(request, &Reply::to_question(fault)),
        }
    }

    /// Does what an operator asks, and says so in the log and the audit file.
    pub(super) async fn operate(&mut self, request: &Request, operation: Operation) -> After {
        let bytes = self.bytes_of(request);
        let path = request.head.path(bytes).to_owned();
        let id = routes::id_in_admin_path(&path);
        let body = self.input.get(request.body_start..request.body_end);
        let body = body.unwrap_or_default().to_vec();
        if self.flush().await.is_err() {
            return After::Cut;
        }
        self.watch.rest();
        let note = wire::read_operator_note(&body);
        let (status, result) = match &note {
            Err(fault) => without_note(*fault),
            Ok(_) => match operation {
                Operation::Confirm(processor) => self.confirm(processor),
                Operation::Pause(processor) => self.pause(processor, true).await,
                Operation::Resume(processor) => self.pause(processor, false).await,
                Operation::Resolve => self.resolve(id.as_ref(), &body).await,
                Operation::SetLog => set_log(&body),
                Operation::Set => self.set(&body),
            },
        };
        self.core.runtime.note_operator(&OperatorCall {
            path: &path,
            note: note.as_ref().ok(),
            id: id.as_ref(),
            status,
            result: &result,
        });
        if status == 200 {
            let message = serde_json::to_string(&result).unwrap_or_default();
            let body = format!(r#"{{"message":{message}}}"#);
            return self.show(request, &Page::json(body.into_bytes()));
        }
        self.show(request, &Page::problem(status, &result))
    }

    /// The processor that moved is the one that it was.
    fn confirm(&self, processor: Processor) -> Outcome {
        match self.core.runtime.confirm(processor) {
            Ok(addresses) => (200, format!("processor confirmed at {addresses}")),
            Err(Unresolved) => (409, "the name of this processor has no address".to_owned()),
        }
    }

    async fn pause(&self, processor: Processor, is_paused: bool) -> Outcome {
        let name = processor.name();
        if self.core.runtime.config.upstream.find(processor).is_none() {
            return (404, format!("{name} is not configured"));
        }
        let kept = self.core.runtime.set_paused(processor, is_paused).await;
        let done = if is_paused {
            "is paused: no new payment and no re-send goes there"
        } else {
            "goes on"
        };
        match kept {
            Kept::Yes => (200, format!("{name} {done}")),
            // A start pauses none: that it goes on has no end.
            Kept::NoJournal if !is_paused => (200, format!("{name} {done}")),
            Kept::OnlyHere if !is_paused => (200, format!("{name} {done}; on this instance alone")),
            Kept::NoJournal => (
                200,
                format!("{name} {done}; without a journal, until a restart"),
            ),
            Kept::OnlyHere => {
                let extent = "on this instance alone, until its restart";
                (200, format!("{name} {done}; {extent}"))
            }
            Kept::Failed(why) => (503, format!("{name} {done}, until a restart: {why}")),
        }
    }

    /// Another value of a setting, until a restart.
    fn set(&self, body: &[u8]) -> Outcome {
        let Some((name, value)) = wire::read_change(body) else {
            return (422, "setting and value are needed, as texts".to_owned());
        };
        let changed = config::read_change(&name, &value).and_then(|number| {
            self.core
                .runtime
                .change(&name, number, &self.core.rate_limit)
        });
        match changed {
            Ok(()) => (200, format!("{name}={value} until a restart")),
            Err(why) => (422, why),
        }
    }

    async fn resolve(&self, id: Option<&CorrelationId>, body: &[u8]) -> Outcome {
        let Some(id) = id else {
            return told(Unresolvable::Unknown);
        };
        if !self.core.runtime.config.shards.own.owns(id) {
            return (421, "the id belongs to another shard".to_owned());
        }
        let resolution = match wire::read_verdict(body) {
            Some((true, _)) => Resolution::Applied,
            Some((false, false)) => Resolution::Refused,
            Some((false, true)) => Resolution::RefusedAlthoughAcknowledged,
            None => {
                let why = r#"verdict must be "applied" or "refused", although_acknowledged a bool"#;
                return (422, why.to_owned());
            }
        };
        let done = if resolution == Resolution::Applied {
            "resolved by hand as applied"
        } else {
            "resolved by hand as refused; its id stays taken"
        };
        match self
            .core
            .runtime
            .resolve(id.upstream_id(), resolution)
            .await
        {
            Ok(()) => (200, done.to_owned()),
            Err(SteerFault::Unresolvable(why)) => told(why),
            Err(SteerFault::Elsewhere(holder)) => {
                (421, format!("another instance has it: {holder}"))
            }
            Err(SteerFault::StoreAway) => (503, "the store does not answer".to_owned()),
            Err(SteerFault::Busy) => (
                503,
                "its core did not answer in time: ask what became of it".to_owned(),
            ),
        }
    }

    /// A call was refused before it was read: where it is one that operators make on their
    /// listener, it is told.
    pub(super) fn note_refused(&self, path: &str, status: u16) {
        if self.peer.role == ListenerRole::Admin && routes::is_for_operators(path) {
            let id = routes::id_in_admin_path(path);
            self.core.runtime.note_refused(path, id.as_ref(), status);
        }
    }
}

fn without_note(fault: NoteFault) -> Outcome {
    match fault {
        NoteFault::NotAnObject => (
            400,
            "the body is no object of JSON, or names a member twice".to_owned(),
        ),
        NoteFault::Missing => {
            let why = "operator and reason are needed, as texts of at most 200 bytes";
            (422, why.to_owned())
        }
    }
}

fn set_log(body: &[u8]) -> Outcome {
    let Some(filter) = wire::read_filter(body) else {
        return (422, "filter is needed, as RUST_LOG spells it".to_owned());
    };
    let set = config::check_log_filter(&filter).and_then(|()| logging::set_filter(&filter));
    match set {
        Ok(()) => (200, format!("logging {filter} until SIGHUP or a restart")),
        Err(why) => (422, format!("filter {why}")),
    }
}

fn told(why: Unresolvable) -> Outcome {
    match why {
        Unresolvable::Unknown => (404, "no payment with this id is known".to_owned()),
        Unresolvable::Settled(status) => {
            let status = if status == Status::Processed {
                "processed"
            } else {
                "refused"
            };
            (409, format!("it is settled already: {status}"))
        }
        Unresolvable::InFlight => {
            let why = "an attempt of it is in flight or its late answer may still come: pause its \
                       processor, and try again when SETTLE_TIMEOUT_MS is over";
            (409, why.to_owned())
        }
        Unresolvable::NoProcessor => (
            409,
            "no processor has it, so none can have charged it".to_owned(),
        ),
        Unresolvable::MayBeAcknowledged => {
            let why = "it was open when a process ended, so its client may have been told that it \
                       is charged: although_acknowledged is needed";
            (409, why.to_owned())
        }
        Unresolvable::JournalDown => (503, "the journal failed".to_owned()),
    }
}

/// One pending payment as an object of JSON; no text in it needs an escape.
fn view(view: &PendingView) -> String {
    let mut amount = Vec::new();
    view.payment.amount.write(&mut amount);
    let quoted = |name: &str| format!("\"{name}\"");
    let or_null = |name: Option<String>| name.map_or_else(|| "null".to_owned(), |one| quoted(&one));
    format!(
        r#"{{"correlationId":"{}","amount":{},"age_ms":{},"processor":{},"attempts":{},"why":"{}","promised":{},"last":{}}}"#,
        view.payment.correlation_id.as_str(),
        String::from_utf8_lossy(&amount),
        view.age.as_millis(),
        or_null(view.processor.map(|one| one.name().to_owned())),
        view.attempts,
        view.why,
        view.is_promised,
        or_null(view.last.map(reason_name))
    )
}
