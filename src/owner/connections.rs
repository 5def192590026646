//! Connections as they come: an attempt has its own, or it is being made.
use std::net::SocketAddr;

use super::attempts::{Phase, Purpose};
use super::{JournalStanding, Owner, held};
use crate::clock::Now;
use crate::config::Ack;
use crate::events::AttemptRef;
use crate::flow::{Flow, HedgeState, Promise, Stage, Step};
use crate::table::Key;

impl Owner {
    /// The connection that `Connect` asked for is ready and unused; it went to `address`.
    pub fn connected(&mut self, attempt: AttemptRef, address: Option<SocketAddr>, now: Now) {
        self.moment = now;
        let Some(entry) = self.attempts.get_mut(attempt.0) else {
            // It was abandoned meanwhile, and the driver was told so.
            return;
        };
        let was_left = entry.phase == Phase::Deserted;
        entry.phase = Phase::Connected;
        entry.address = address;
        let (key, purpose) = (entry.flow, entry.purpose);
        let has_failed = self.journal.standing == JournalStanding::Failed;
        if was_left && purpose == Purpose::First && !has_failed {
            self.come_back(key, attempt, now);
        }
        let stage = self.flows.get(key).map(|flow| flow.stage());
        let is_wanted = match (purpose, stage) {
            (Purpose::First | Purpose::Resend, Some(Stage::Connecting { attempt: holder })) => {
                holder == attempt
            }
            (
                Purpose::Hedge,
                Some(Stage::Sending {
                    hedge: HedgeState::Out { attempt: holder },
                    ..
                }),
            ) => holder == attempt,
            (
                Purpose::First
                | Purpose::Resend
                | Purpose::Hedge
                | Purpose::Proof
                | Purpose::Identity { .. },
                _,
            ) => false,
        };
        if !is_wanted || has_failed {
            self.abandon(attempt, now);
            return;
        }
        match purpose {
            Purpose::Hedge => self.send_hedge(key, attempt, now),
            Purpose::First | Purpose::Resend => self.intend(key, attempt, now),
            // A lookup is never told of its connection.
            Purpose::Proof | Purpose::Identity { .. } => {}
        }
    }

    /// `attempt` was left because it was slow, and has its connection before the one that its
    /// payment went to: that one may never have any.
    fn come_back(&mut self, key: Key, attempt: AttemptRef, now: Now) {
        let flow = self.flows.get(key).filter(|flow| flow.pinned().is_none());
        if let Some(Stage::Connecting { attempt: slower }) = flow.map(Flow::stage) {
            self.enter(key, Step::Started, Stage::Connecting { attempt }, now);
            self.abandon(slower, now);
        }
    }

    /// The connection that `Connect` asked for is being made: no promise waits for that.
    pub fn connecting(&mut self, attempt: AttemptRef) {
        let key = self.attempts.get(attempt.0).map(|entry| entry.flow);
        let is_open = |key: &Key| {
            let flow = self.flows.get(*key);
            flow.is_some_and(|flow| flow.promise == Promise::Open)
        };
        if let (Ack::Accepted, Some(key)) = (self.settings.ack, key.filter(is_open)) {
            self.promise(key);
        }
    }

    /// The hedge of `key` has its connection. Its Intent is open, as long as no one takes it over.
    fn send_hedge(&mut self, key: Key, attempt: AttemptRef, now: Now) {
        let flow = held(self.flows.get(key));
        let is_covered = self.is_covered_by_lease(flow.writer, now);
        if let (Stage::Sending { attempt: first, .. }, false) = (flow.stage(), is_covered) {
            self.abandon(attempt, now);
            let hedge = HedgeState::Over;
            let stage = Stage::Sending {
                attempt: first,
                hedge,
            };
            self.enter(key, Step::Hedged, stage, now);
        } else {
            self.send(attempt, now);
        }
    }
}
