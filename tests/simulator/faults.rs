//! Each scripted fault at each moment: what the caller sees, and whether it was charged.

use p99::testing::sim::{Act, Fault, Moment, Route};

use crate::caller::{Client, id, start};
use crate::kit::client::{Broken, wait_until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    Status(u16),
    Reset,
    /// The end of the stream, after this many bytes or more.
    End(usize),
    Silence,
    NoHttp,
}

fn look(client: &mut Client) -> Sees {
    match client.read() {
        Ok(answer) => Sees::Status(answer.status),
        Err(Broken::Reset) => Sees::Reset,
        Err(Broken::Closed { bytes }) => Sees::End(bytes),
        Err(Broken::Silence) => panic!("no answer by the deadline"),
        Err(Broken::NoHttp) => Sees::NoHttp,
    }
}

#[test]
fn each_fault_at_each_moment() {
    let rows = [
        (Moment::Connect, Act::Reset, Sees::Reset, false),
        (Moment::Connect, Act::Close, Sees::End(0), false),
        (Moment::Connect, Act::Stall, Sees::Silence, false),
        (Moment::Connect, Act::Pause(1), Sees::Status(200), true),
        (Moment::Head, Act::Reset, Sees::Reset, false),
        (Moment::Head, Act::Close, Sees::End(0), false),
        (Moment::Head, Act::Stall, Sees::Silence, false),
        (Moment::Head, Act::Pause(1), Sees::Status(200), true),
        (Moment::Head, Act::Status(408), Sees::Status(408), false),
        (Moment::Body, Act::Reset, Sees::Reset, false),
        (Moment::Body, Act::Close, Sees::End(0), false),
        (Moment::Body, Act::Stall, Sees::Silence, false),
        (Moment::Body, Act::Pause(1), Sees::Status(200), true),
        (Moment::Body, Act::Status(503), Sees::Status(503), false),
        (
            Moment::Body,
            Act::StatusRetryAfter(429, 5),
            Sees::Status(429),
            false,
        ),
        (Moment::Body, Act::ResetChargeLater(1), Sees::Reset, true),
        (Moment::Answer, Act::Reset, Sees::Reset, true),
        (Moment::Answer, Act::Close, Sees::End(0), true),
        (Moment::Answer, Act::Stall, Sees::Silence, true),
        (Moment::Answer, Act::Pause(1), Sees::Status(200), true),
        (Moment::Answer, Act::Status(500), Sees::Status(500), true),
        (Moment::Answer, Act::Status(504), Sees::Status(504), true),
        (Moment::Answer, Act::CutHead, Sees::End(1), true),
        (Moment::Answer, Act::CutBody, Sees::End(60), true),
        (Moment::Answer, Act::ResetBody, Sees::Reset, true),
        (Moment::Answer, Act::Drip(0), Sees::Status(200), true),
        (Moment::Answer, Act::Double, Sees::Status(200), true),
        (Moment::Answer, Act::Garbage, Sees::NoHttp, true),
        (Moment::Answer, Act::Chunked, Sees::Status(200), true),
        (Moment::Answer, Act::Interim, Sees::Status(103), true),
        (Moment::Answer, Act::LastAnswer, Sees::Status(200), true),
        (Moment::Answer, Act::CloseAfter, Sees::Status(200), true),
        (Moment::Answer, Act::ResetAfter, Sees::Status(200), true),
    ];
    let sim = start();
    for (number, (moment, act, expected, charged)) in (0..).zip(rows) {
        let what = format!("{act:?} at {moment:?}");
        let fault = sim.inject(Fault::new(moment, act).next(1)).unwrap();
        let mut client = match Client::try_connect(sim.address()) {
            Ok(client) => client,
            // The reset at connect may overtake the end of the caller's connect.
            Err(fault) => {
                assert_eq!(fault.kind(), std::io::ErrorKind::ConnectionReset, "{what}");
                assert_eq!((moment, act), (Moment::Connect, Act::Reset));
                sim.clear_faults();
                continue;
            }
        };
        client.send_payment(number);
        if expected == Sees::Silence {
            wait_until(&what, || sim.struck(fault) == 1);
            assert!(client.is_silent(), "{what}");
        } else {
            match (look(&mut client), expected) {
                (Sees::End(bytes), Sees::End(least)) => assert!(bytes >= least, "{what}"),
                (seen, expected) => assert_eq!(seen, expected, "{what}"),
            }
        }
        if charged {
            wait_until(&what, || sim.find(id(number)).is_some());
        }
        assert_eq!(sim.find(id(number)).is_some(), charged, "{what}");
        assert_eq!(sim.struck(fault), 1, "{what}");
        sim.clear_faults();
    }
}

#[test]
fn an_answer_that_comes_twice_comes_twice() {
    let sim = start();
    sim.inject(Fault::new(Moment::Answer, Act::Double).next(1))
        .unwrap();
    let mut client = Client::connect(sim.address());
    client.send_payment(1);
    let first = client.read().unwrap();
    assert_eq!(client.read().unwrap(), first);
    assert_eq!(client.pay(2), 200, "the connection lives on");
}

#[test]
fn legal_oddities_are_followed_by_what_they_promise() {
    let sim = start();
    let body = r#"{"message":"payment processed successfully"}"#;
    let rows = [
        (Act::Chunked, Ok(200)),
        (Act::Interim, Ok(200)),
        (Act::LastAnswer, Err(Broken::Closed { bytes: 0 })),
        (Act::CloseAfter, Err(Broken::Closed { bytes: 0 })),
        (Act::ResetAfter, Err(Broken::Reset)),
    ];
    for (number, (act, then)) in (0..).step_by(2).zip(rows) {
        sim.inject(Fault::new(Moment::Answer, act).next(1)).unwrap();
        let mut client = Client::connect(sim.address());
        client.send_payment(number);
        let mut answer = client.read().unwrap();
        if act == Act::Interim {
            answer = client.read().unwrap();
        }
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, body),
            "{act:?}"
        );
        let says_close = answer.head.contains("Connection: close");
        assert_eq!(says_close, act == Act::LastAnswer, "{act:?}");
        if then.is_ok() {
            client.send_payment(number + 1);
        }
        assert_eq!(client.read().map(|answer| answer.status), then, "{act:?}");
    }
}

#[test]
fn work_done_before_a_fault_is_found_again() {
    let sim = start();
    sim.inject(Fault::new(Moment::Answer, Act::Reset).next(1))
        .unwrap();
    let mut client = Client::connect(sim.address());
    client.send_payment(1);
    assert_eq!(client.read(), Err(Broken::Reset));
    let mut client = Client::connect(sim.address());
    assert_eq!((client.look_up(1), client.pay(1)), (200, 422));
    assert_eq!(sim.attempts(id(1)), 2);
}

#[test]
fn a_charge_that_comes_after_the_reset_comes() {
    let sim = start();
    sim.inject(Fault::new(Moment::Body, Act::ResetChargeLater(50)))
        .unwrap();
    let mut client = Client::connect(sim.address());
    client.send_payment(1);
    assert_eq!(client.read(), Err(Broken::Reset));
    wait_until("charged after all", || sim.find(id(1)).is_some());
}

#[test]
fn faults_of_lookups_leave_payments_alone() {
    let sim = start();
    sim.inject(Fault::new(Moment::Answer, Act::Status(500)).on(Route::Lookup))
        .unwrap();
    let mut client = Client::connect(sim.address());
    assert_eq!((client.pay(1), client.look_up(1)), (200, 500));
}

#[test]
fn faults_are_set_over_http() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    let body = r#"{"faults":[{"moment":"body","act":{"status":503},"when":{"every":2}}]}"#;
    let answer = client.call("PUT /admin/configurations/faults", body);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"config":"faults","was":0,"is":1}"#)
    );
    let statuses: Vec<_> = (0..4).map(|number| client.pay(number)).collect();
    assert_eq!(statuses, [200, 503, 200, 503]);
    let listed = client.call("GET /admin/configurations/faults", "").body;
    assert!(listed.contains(r#""struck":2"#), "{listed}");
    let answer = client.call("PUT /admin/configurations/faults", r#"{"faults":[]}"#);
    assert_eq!(answer.body, r#"{"config":"faults","was":1,"is":0}"#);
    assert_eq!(client.pay(5), 200);
}

#[test]
fn a_processor_that_refuses_is_there_again_on_the_same_port() {
    let sim = start();
    for round in 0..20 {
        let mut open = Client::connect(sim.address());
        assert_eq!(open.pay(2 * round), 200);
        sim.set_refusing(true).unwrap();
        let refused = Client::try_connect(sim.address())
            .err()
            .map(|fault| fault.kind());
        assert_eq!(refused, Some(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(open.look_up(2 * round), 200, "open connections live on");
        sim.reset_connections();
        assert!(open.read().is_err(), "until they are reset");
        sim.set_refusing(false).unwrap();
        assert_eq!(Client::connect(sim.address()).pay(2 * round + 1), 200);
    }
}

#[test]
fn it_refuses_for_a_while_when_told_over_http() {
    let sim = start();
    let mut open = Client::connect(sim.address());
    let body = r#"{"ms":300}"#;
    let answer = open.call("PUT /admin/configurations/refusing", body);
    assert_eq!(answer.body, r#"{"config":"refusing","was":0,"is":300}"#);
    wait_until("it listens again", || {
        Client::try_connect(sim.address()).is_ok_and(|mut client| client.look_up(1) == 404)
    });
    sim.stop();
}

#[test]
fn what_was_read_is_kept_in_its_order() {
    let sim = start();
    let mut client = Client::connect(sim.address());
    assert_eq!(
        (client.pay(2), client.pay(1), client.pay(2)),
        (200, 200, 422)
    );
    let ids: Vec<_> = sim.log().iter().map(|order| order.id).collect();
    assert_eq!(ids, [id(2), id(1), id(2)]);
    sim.purge();
    assert_eq!(sim.log(), []);
}

#[test]
fn a_stop_ends_every_connection_and_frees_the_port() {
    let sim = start();
    let address = sim.address();
    sim.set_delay(std::time::Duration::from_hours(1));
    let mut waiting = Client::connect(address);
    let mut idle = Client::connect(address);
    assert_eq!(idle.look_up(1), 404);
    waiting.send_payment(1);
    wait_until("at work", || sim.in_flight().0 == 1);
    sim.stop();
    assert!(idle.read().is_err());
    assert!(waiting.read().is_err());
    assert!(Client::try_connect(address).is_err());
}
