//! What operators are told of payments: nothing of a plain one, and all of one that is not.

use super::early::restored;
use super::play::{PATIENCE, Play};
use crate::config::Ack;
use crate::events::{Answer, Exchange, Reason};
use crate::payment::{Processor, ProcessorCount, Status, UpstreamId};
use crate::timeline::{Choice, Fact, Line, Purpose, Remark, Telling};

const A: Processor = Processor::DEFAULT;
const B: Processor = Processor::FALLBACK;

fn lines(play: &Play) -> Vec<Line> {
    let line = |telling: &Telling| match telling {
        Telling::Line(line) => Some((**line).clone()),
        Telling::Head(_) | Telling::Entry(_) => None,
    };
    play.tellings.iter().filter_map(line).collect()
}

fn remarks(line: &Line) -> Vec<Remark> {
    line.remarks.iter().collect()
}

/// The facts about `id` that were passed on.
fn passed_on(play: &Play, id: UpstreamId) -> Vec<Fact> {
    let fact = |telling: &Telling| match telling {
        Telling::Entry(entry) if entry.id == id => Some(entry.fact),
        Telling::Entry(_) | Telling::Head(_) | Telling::Line(_) => None,
    };
    play.tellings.iter().filter_map(fact).collect()
}

fn remembered(play: &Play, id: UpstreamId) -> Vec<Fact> {
    let entries = play.owner.facts_of(id);
    entries.into_iter().map(|entry| entry.fact).collect()
}

#[test]
fn a_plain_payment_is_two_facts_and_no_line() {
    for ack in [Ack::Processed, Ack::Accepted] {
        let mut play = Play::begin_with(|settings, _| settings.ack = ack);
        let id = play.post(1);
        play.sync();
        play.hear(200);
        play.sync();
        let steps = remembered(&play, id);
        let [Fact::Sent { .. }, Fact::Charged { processor, .. }] = steps[..] else {
            panic!("{ack:?}: {steps:?}");
        };
        assert_eq!(processor, A);
        assert!(play.tellings.is_empty(), "{ack:?}: {:?}", play.tellings);
    }
}

#[test]
fn a_payment_that_turns_out_not_to_be_plain_is_told_from_its_beginning() {
    let mut play = Play::begin();
    let id = play.post(1);
    play.sync();
    play.hear(503);
    play.pass(PATIENCE);
    play.sync();
    assert_eq!(play.answers, [Answer::Accepted]);
    let first = lines(&play);
    let [line] = &first[..] else {
        panic!("{first:?}");
    };
    assert_eq!(
        (line.answer, line.status),
        (Some(Answer::Accepted), Status::Pending)
    );
    assert_eq!((line.processor, line.attempts), (Some(A), 1));
    assert_eq!(remarks(line), [Remark::Unknown, Remark::Deadline]);
    assert_eq!(line.last, Some(Reason::Status(503)));
    assert_eq!(line.took, PATIENCE);
    play.pass(PATIENCE * 100);
    play.sync();
    play.hear(200);
    play.sync();
    let all = lines(&play);
    let end = all.last().unwrap();
    assert_eq!((end.answer, end.status), (None, Status::Processed));
    assert_eq!(end.attempts, 2);
    let expected = [Remark::Unknown, Remark::Resent, Remark::Deadline];
    assert_eq!(remarks(end), expected);
    assert_eq!(all.len(), 2);
    // Nothing is told twice, and what was before the first trouble is told too.
    let steps = passed_on(&play, id);
    assert_eq!(steps, remembered(&play, id));
    let first = matches!(
        steps[0],
        Fact::Sent {
            purpose: Purpose::First,
            processor: A,
            ..
        }
    );
    assert!(first, "{steps:?}");
    let heads = play.tellings.iter();
    let heads = heads.filter(|telling| matches!(telling, Telling::Head(_)));
    assert_eq!(heads.count(), 1);
    let last = steps.last().unwrap();
    let processor = Some(A);
    assert_eq!(
        *last,
        Fact::Settled {
            status: Status::Processed,
            processor
        }
    );
}

#[test]
fn a_failover_says_why_it_went_elsewhere() {
    let mut play = Play::begin();
    play.is_deaf = Some(A);
    let id = play.post(1);
    let (attempt, _) = play.connected[0];
    play.owner.exchanged(attempt, Exchange::NotSent, play.now);
    play.perform();
    play.sync();
    play.hear(200);
    play.sync();
    assert_eq!(play.answers, [Answer::Charged]);
    let told = lines(&play);
    let [line] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(remarks(line), [Remark::Failover]);
    assert_eq!((line.processor, line.attempts), (Some(B), 1));
    assert_eq!(line.last, Some(Reason::NoConnection));
    let is_because_tried = |fact: &Fact| {
        let tried = Choice::Tried;
        matches!(fact, Fact::Sent { choice, .. } if *choice == tried)
    };
    assert!(passed_on(&play, id).iter().any(is_because_tried));
}

#[test]
fn a_refusal_and_a_payment_that_none_could_have_are_told() {
    let mut play = Play::begin();
    play.post(1);
    play.sync();
    play.hear(400);
    play.sync();
    let told = lines(&play);
    assert_eq!(remarks(&told[0]), [Remark::Refused]);
    assert_eq!(
        (told[0].answer, told[0].status),
        (Some(Answer::RefusedForGood), Status::Refused)
    );
    assert_eq!(told.len(), 1);
    let only_a = ProcessorCount::try_new(1).unwrap();
    let mut play = Play::begin_with(|settings, _| settings.processors = only_a);
    play.is_deaf = Some(A);
    play.post(1);
    play.pass(PATIENCE);
    play.sync();
    assert_eq!(play.answers, [Answer::Unavailable]);
    let told = lines(&play);
    assert_eq!(told.len(), 1);
    assert_eq!(remarks(&told[0]), [Remark::Unavailable]);
    assert_eq!((told[0].processor, told[0].attempts), (None, 0));
}

#[test]
fn what_a_start_finds_open_is_told_until_it_is_settled() {
    let mut play = Play::begin();
    play.owner.restore(&restored(1, 5), play.now);
    play.perform();
    play.sync();
    assert!(matches!(play.tellings[0], Telling::Head(_)));
    play.hear(200);
    play.sync();
    let all = lines(&play);
    assert_eq!(
        remarks(all.last().unwrap()),
        [Remark::Resent, Remark::Restored]
    );
}
