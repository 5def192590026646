//! One thread plays all cores: what is reserved, refused, owed and woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Wake, Waker};

use super::*;

const A: CoreId = CoreId(0);
const B: CoreId = CoreId(1);
const C: CoreId = CoreId(2);

type Numbers = Mailbox<u32, u64>;

fn three(capacity: usize) -> [Numbers; 3] {
    mailboxes(CoreCount(3), capacity).try_into().unwrap()
}

fn messages(mailbox: &Numbers) -> Vec<(CoreId, Message<u32, u64>)> {
    let mut messages = Vec::new();
    let count = mailbox.drain(|from, message| messages.push((from, message)));
    assert_eq!(count, messages.len());
    messages
}

struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn letters_name_their_sender_and_keep_their_order() {
    let [a, b, c] = three(4);
    a.hand_over(C, 1).unwrap();
    b.hand_over(C, 2).unwrap();
    a.hand_over(C, 3).unwrap();
    let expected = [(A, 1), (A, 3), (B, 2)].map(|(from, number)| (from, Message::Request(number)));
    assert_eq!(messages(&c), expected);
    c.reply(A, 30).unwrap();
    c.reply(A, 10).unwrap();
    assert_eq!(
        messages(&a),
        [(C, Message::Reply(30)), (C, Message::Reply(10))]
    );
    assert_eq!(messages(&b), []);
}

#[test]
fn a_hand_over_beyond_the_reserved_replies_is_refused_and_a_reply_never() {
    let [a, b, _c] = three(2);
    for round in 0..10 {
        a.hand_over(B, round).unwrap();
        a.hand_over(B, round).unwrap();
        assert_eq!(a.hand_over(B, 99), Err(Full(99)));
        assert_eq!(messages(&b).len(), 2);
        // The request ring has room again, but the replies would not fit.
        assert_eq!(a.hand_over(B, 99), Err(Full(99)));
        b.reply(A, 1).unwrap();
        b.reply(A, 2).unwrap();
        assert_eq!(
            a.hand_over(B, 99),
            Err(Full(99)),
            "not before the replies are taken out"
        );
        assert_eq!(a.without_reply(B), 2);
        assert_eq!(messages(&a).len(), 2);
        assert_eq!(a.without_reply(B), 0);
    }
}

#[test]
fn a_reply_that_nobody_is_owed_is_given_back() {
    let [a, b, _c] = three(2);
    assert_eq!(b.reply(A, 1), Err(Full(1)));
    a.hand_over(B, 7).unwrap();
    assert_eq!(b.reply(A, 1), Err(Full(1)), "not even read yet");
    assert_eq!(messages(&b).len(), 1);
    b.reply(A, 1).unwrap();
    assert_eq!(b.reply(A, 1), Err(Full(1)));
}

#[test]
fn nobody_hands_over_to_itself_or_to_nobody() {
    let [a, _b, _c] = three(2);
    assert_eq!(a.hand_over(A, 1), Err(Full(1)));
    assert_eq!(a.hand_over(CoreId(3), 1), Err(Full(1)));
}

#[test]
fn replies_and_requests_may_be_sent_while_draining() {
    let [a, b, _c] = three(2);
    a.hand_over(B, 5).unwrap();
    b.drain(|from, message| {
        assert_eq!(message, Message::Request(5));
        b.reply(from, 50).unwrap();
        b.hand_over(from, 6).unwrap();
    });
    assert_eq!(
        messages(&a),
        [(B, Message::Reply(50)), (B, Message::Request(6))]
    );
}

#[test]
fn a_batch_wakes_once_and_an_awake_core_not_at_all() {
    let [a, b, c] = three(8);
    let count = Arc::new(Count(AtomicU32::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let context = Context::from_waker(&waker);
    a.hand_over(C, 1).unwrap();
    assert_eq!(count.0.load(SeqCst), 0, "no one listens");
    assert_eq!(c.poll_wait(&context), Poll::Ready(()));
    messages(&c);
    assert_eq!(c.poll_wait(&context), Poll::Pending);
    for number in 0..3 {
        a.hand_over(C, number).unwrap();
        b.hand_over(C, number).unwrap();
    }
    assert_eq!(count.0.load(SeqCst), 1);
    assert_eq!(c.poll_wait(&context), Poll::Ready(()));
    assert_eq!(messages(&c).len(), 6);
    c.reply(A, 1).unwrap();
    assert_eq!(c.poll_wait(&context), Poll::Pending);
    assert_eq!(count.0.load(SeqCst), 1);
}

#[test]
fn rings_shrink_as_pairs_grow() {
    for (cores, expected) in [
        (1, 2_048),
        (2, 2_048),
        (4, 2_048),
        (8, 1_170),
        (16, 273),
        (64, 64),
    ] {
        assert_eq!(capacity(CoreCount(cores)), expected, "{cores} cores");
    }
}
