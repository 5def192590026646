//! What an operator settles where instances share a store: it is the table's own word, and it is
//! durable before anybody hears of it.

use std::time::Duration;

use super::early::restored;
use super::play::{PATIENCE, Play};
use super::shared;
use crate::events::{Answer, StoreLine, WriterSlot};
use crate::journal::operator::Resolution;
use crate::owner::{Journalling, Unresolvable};
use crate::payment::{Processor, ProcessorCount, Status, UpstreamId};

const A: Processor = Processor::DEFAULT;
/// Longer than a late answer is read.
const LATER: Duration = Duration::from_millis(300);

/// A payment in doubt at A, which is paused, so that nothing of it is in flight.
fn in_doubt() -> (Play, UpstreamId) {
    let mut play = shared::begin();
    let id = play.post(1);
    shared::acknowledge(&mut play, Duration::ZERO);
    play.set_paused(A, true);
    play.pass(PATIENCE);
    play.pass(LATER);
    shared::acknowledge(&mut play, Duration::ZERO);
    assert_eq!(play.answers, [Answer::Accepted]);
    (play, id)
}

fn status_of(play: &Play, id: UpstreamId) -> Option<Status> {
    play.owner.find(id).map(|found| found.status)
}

#[test]
fn the_table_tells_what_an_operator_said_from_what_a_processor_did() {
    for (resolution, status) in [
        (Resolution::Applied, Status::Processed),
        (Resolution::Refused, Status::Refused),
    ] {
        let (mut play, id) = in_doubt();
        let sent_at = play.owner.find(id).and_then(|found| found.requested_at);
        let written = play.resolve_by_hand(id, resolution);
        let last = (WriterSlot::OWN, play.appended_to(WriterSlot::OWN));
        assert_eq!(written, Ok(last), "it is told when this is durable");
        let charged = sent_at.filter(|_| resolution == Resolution::Applied);
        let charged = charged.map(|at| (A, at));
        assert_eq!(play.lines, [StoreLine::ByHand { id, charged }]);
        assert_eq!(status_of(&play, id), Some(Status::Pending), "not yet");
        play.sync();
        assert_eq!(status_of(&play, id), Some(status));
    }
}

#[test]
fn what_was_adopted_is_settled_by_hand_at_its_own_writer() {
    let mut play = shared::begin();
    play.set_paused(A, true);
    let writer = play.owner.adopt().unwrap();
    let mut open = restored(7, 100);
    open.writer = writer;
    play.owner.restore(&open, play.now);
    play.perform();
    let id = open.payment.id;
    let although = Resolution::RefusedAlthoughAcknowledged;
    assert_eq!(play.resolve_by_hand(id, although), Ok((writer, 1)));
    play.sync();
    assert_eq!(status_of(&play, id), Some(Status::Pending), "another's");
    play.sync_of(writer);
    assert_eq!(status_of(&play, id), Some(Status::Refused));
}

/// Another writer may have its id, and what is said here would be said of that one's payment.
#[test]
fn what_is_not_claimed_yet_is_not_settled_by_hand() {
    let mut play = Play::begin_with(|settings, _| {
        settings.journal = Journalling::Store;
        (settings.waiting_max, settings.processors) = (200, ProcessorCount::try_new(1).unwrap());
    });
    play.owner.set_away(false);
    // The last one finds no slot.
    let ids: Vec<_> = (0..100).map(|number| play.post(number)).collect();
    let id = *ids.last().unwrap();
    assert_eq!(status_of(&play, id), Some(Status::Pending));
    let before = play.appended_to(WriterSlot::OWN);
    assert!(before < 100, "it is not claimed");
    let told = play.resolve_by_hand(id, Resolution::Refused);
    assert_eq!(told, Err(Unresolvable::InFlight));
    assert_eq!(play.appended_to(WriterSlot::OWN), before);
}
