//! What the script promises: schedules, order, and which act fits which moment.

use super::*;

const ALWAYS: Fault = Fault::new(Moment::Answer, Act::Reset);

fn strikes(fault: Fault, requests: u64) -> Vec<u64> {
    let mut script = Script::default();
    script.add(fault).unwrap();
    let struck = |_: &u64| script.strike(Moment::Answer, Some(Route::Pay)).is_some();
    (1..=requests).filter(struck).collect()
}

#[test]
fn a_schedule_says_which_requests_are_struck() {
    assert_eq!(strikes(ALWAYS, 3), [1, 2, 3]);
    assert_eq!(strikes(ALWAYS.next(2), 5), [1, 2]);
    assert_eq!(strikes(ALWAYS.every(3), 10), [3, 6, 9]);
    assert_eq!(strikes(ALWAYS.every(0), 2), [1, 2], "no division by zero");
    assert_eq!(strikes(ALWAYS.next(0), 2), Vec::<u64>::new());
}

#[test]
fn chance_is_fair_and_repeats_with_its_seed() {
    let struck = strikes(ALWAYS.chance(250_000, 7), 10_000);
    assert!((2_300..2_700).contains(&struck.len()), "{}", struck.len());
    assert_eq!(struck, strikes(ALWAYS.chance(250_000, 7), 10_000));
    assert_ne!(struck, strikes(ALWAYS.chance(250_000, 8), 10_000));
    assert_eq!(strikes(ALWAYS.chance(0, 1), 100), Vec::<u64>::new());
    assert_eq!(strikes(ALWAYS.chance(1_000_000, 1), 100).len(), 100);
}

#[test]
fn a_fault_strikes_its_moment_and_its_route_only() {
    let mut script = Script::default();
    let id = script.add(ALWAYS.on(Route::Lookup)).unwrap();
    assert_eq!(script.strike(Moment::Answer, Some(Route::Pay)), None);
    assert_eq!(script.strike(Moment::Body, Some(Route::Lookup)), None);
    assert_eq!(
        script.strike(Moment::Answer, None),
        None,
        "admin calls are spared"
    );
    assert_eq!(
        script.strike(Moment::Answer, Some(Route::Lookup)),
        Some(Act::Reset)
    );
    assert_eq!(script.struck(id), 1);
    script.clear();
    assert_eq!((script.struck(id), script.len()), (0, 0));
}

#[test]
fn the_first_fault_that_strikes_wins_and_the_next_takes_over() {
    let mut script = Script::default();
    script.add(ALWAYS.next(1)).unwrap();
    script.add(Fault::new(Moment::Answer, Act::Double)).unwrap();
    let mut next = || script.strike(Moment::Answer, Some(Route::Pay));
    assert_eq!(next(), Some(Act::Reset));
    assert_eq!(next(), Some(Act::Double));
}

#[test]
fn an_act_that_cannot_happen_at_its_moment_is_refused() {
    use Moment::{Answer, Body, Connect, Head};
    let everywhere = [Connect, Head, Body, Answer];
    let rows: &[(Act, &[Moment])] = &[
        (Act::Reset, &everywhere),
        (Act::Close, &everywhere),
        (Act::Stall, &everywhere),
        (Act::Pause(1), &everywhere),
        (Act::Status(503), &[Head, Body, Answer]),
        (Act::StatusRetryAfter(429, 5), &[Head, Body, Answer]),
        (Act::Status(99), &[]),
        (Act::Status(600), &[]),
        (Act::ResetChargeLater(1), &[Body]),
        (Act::CutHead, &[Answer]),
        (Act::CutBody, &[Answer]),
        (Act::ResetBody, &[Answer]),
        (Act::Drip(1), &[Answer]),
        (Act::Double, &[Answer]),
        (Act::Garbage, &[Answer]),
        (Act::Chunked, &[Answer]),
        (Act::Interim, &[Answer]),
        (Act::LastAnswer, &[Answer]),
        (Act::CloseAfter, &[Answer]),
        (Act::ResetAfter, &[Answer]),
    ];
    for (act, moments) in rows {
        for moment in everywhere {
            let taken = Script::default().add(Fault::new(moment, *act)).is_ok();
            assert_eq!(taken, moments.contains(&moment), "{act:?} at {moment:?}");
        }
    }
}

#[test]
fn the_script_is_bounded() {
    let mut script = Script::default();
    for _ in 0..SIM_FAULTS_MAX {
        script.add(ALWAYS).unwrap();
    }
    assert_eq!(script.add(ALWAYS), Err(Misfit::TooMany));
}

#[test]
fn faults_are_read_from_json() {
    let rows = [
        (r#"{"moment":"answer","act":"reset"}"#, ALWAYS),
        (
            r#"{"moment":"body","act":{"status":503},"when":{"next":3},"route":"lookup"}"#,
            Fault::new(Moment::Body, Act::Status(503))
                .next(3)
                .on(Route::Lookup),
        ),
        (
            r#"{"moment":"head","act":{"status_retry_after":[429,5]},"when":{"every":10}}"#,
            Fault::new(Moment::Head, Act::StatusRetryAfter(429, 5)).every(10),
        ),
        (
            r#"{"moment":"connect","act":"stall","when":{"chance":{"per_million":5,"seed":1}}}"#,
            Fault::new(Moment::Connect, Act::Stall).chance(5, 1),
        ),
    ];
    for (text, fault) in rows {
        assert_eq!(
            serde_json::from_str::<Fault>(text).unwrap(),
            fault,
            "{text}"
        );
        let written = serde_json::to_string(&fault).unwrap();
        assert_eq!(
            serde_json::from_str::<Fault>(&written).unwrap(),
            fault,
            "{written}"
        );
    }
    for text in [
        "{}",
        r#"{"moment":"answer","act":"explode"}"#,
        r#"{"moment":"answer","act":"reset","x":1}"#,
    ] {
        assert!(serde_json::from_str::<Fault>(text).is_err(), "{text}");
    }
}
