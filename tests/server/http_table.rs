//! The case table `tests/data/http_cases.jsonl` against the parsers alone: what a server that calls
//! them in turn would take for a message and what it would refuse. `tests/http_cases.py` runs the
//! same table against a whole server; this file finds a fault in the bytes without one.

use p99::testing::http::{BodyReader, HeadRules, Persistence, parse_head};
use serde_json::Value;

const BODY_BYTES_MAX: usize = 8_192;

/// What became of the bytes of one connection.
#[derive(Debug, Default)]
struct Outcome {
    /// Messages that were read to their end, as method and path.
    messages: Vec<String>,
    /// The status of the refusal that closed the connection.
    refused: Option<u16>,
    /// The last message read closed the connection.
    closed: bool,
}

/// Reads messages from `raw`, which arrives in pieces of `size` bytes.
fn serve(raw: &[u8], size: usize) -> Outcome {
    let rules = HeadRules::default();
    let mut outcome = Outcome::default();
    let mut buffer = Vec::new();
    let mut pieces = raw.chunks(size);
    let mut body: Option<(BodyReader, Persistence, String)> = None;
    loop {
        let step = match body.take() {
            None => match parse_head(&buffer, &rules) {
                Err(reject) => Err(reject.status),
                Ok(None) => Ok(false),
                Ok(Some(head)) => {
                    let name = format!("{:?} {}", head.method, head.path(&buffer));
                    let reader = BodyReader::request(head.framing, head.head_bytes, BODY_BYTES_MAX);
                    reader
                        .map_err(p99::testing::http::BodyFault::status)
                        .map(|reader| {
                            body = Some((reader, head.persistence, name));
                            true
                        })
                }
            },
            Some((mut reader, persistence, name)) => match reader.advance(&mut buffer) {
                Err(fault) => Err(fault.status()),
                Ok(None) => {
                    body = Some((reader, persistence, name));
                    Ok(false)
                }
                Ok(Some(range)) => {
                    buffer.drain(..range.end);
                    outcome.messages.push(name);
                    outcome.closed = persistence == Persistence::Close;
                    Ok(true)
                }
            },
        };
        match step {
            Err(status) => outcome.refused = Some(status),
            Ok(true) => {}
            Ok(false) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => return outcome,
            },
        }
        if outcome.refused.is_some() || outcome.closed {
            return outcome;
        }
    }
}

fn raw(case: &Value) -> Vec<u8> {
    let mut text = case["raw"].as_str().unwrap().to_owned();
    for (key, tag) in [("fill", "@@FILL@@"), ("fill2", "@@FILL2@@")] {
        if let Some(fill) = case[key].as_array() {
            let count = usize::try_from(fill[1].as_u64().unwrap()).unwrap();
            text = text.replace(tag, &fill[0].as_str().unwrap().repeat(count));
        }
    }
    text.chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap())
        .collect()
}

/// Cases in which HTTP is sound and a later room refuses: JSON, routes, a body of the wrong type
/// or coding.
fn is_decided_elsewhere(id: &str) -> bool {
    id.starts_with("json-") || matches!(id, "cl-short-10" | "ce-expect")
}

fn fault(case: &Value, outcome: &Outcome) -> Option<String> {
    let number = |key: &str, default: usize| {
        case[key]
            .as_u64()
            .map_or(default, |number| usize::try_from(number).unwrap())
    };
    let id = case["id"].as_str().unwrap();
    let most = number("n", 1);
    let count = outcome.messages.len();
    match (case["expect"].as_str().unwrap(), outcome.refused) {
        ("accept" | "either", _) if count > most => Some("a hidden message".into()),
        ("accept", _) if count < number("min_n", most) => Some("too few messages".into()),
        ("accept", Some(_)) if count >= most => Some("refused at the end".into()),
        ("accept" | "either", _) => None,
        (_, _) if is_decided_elsewhere(id) && count <= number("maxn", most) => None,
        // The input ends inside the message: the server sees the end and closes.
        (_, None) if count == 0 && case["partial"] == true => None,
        (_, None) if count == 0 && case["relax_hang"] == true => None,
        (_, None) => Some("not refused".into()),
        (_, Some(_)) if count > 0 => Some("a message before the refusal".into()),
        ("reject_400", Some(status)) if status != 400 => {
            let also = case["also"].as_array().cloned().unwrap_or_default();
            (!also.contains(&status.into())).then(|| "refused with another status".into())
        }
        (_, Some(_)) => None,
    }
}

#[test]
fn every_case_of_the_table_is_framed_as_it_demands() {
    let table = include_str!("../data/http_cases.jsonl");
    let mut faults = Vec::new();
    for line in table.lines().filter(|line| !line.trim().is_empty()) {
        let case: Value = serde_json::from_str(line).unwrap();
        let raw = raw(&case);
        // The long ones are read as a socket gives them; the rest also byte by byte.
        let sizes: &[usize] = if raw.len() > 20_000 {
            &[4_096]
        } else {
            &[4_096, 1]
        };
        for size in sizes {
            let outcome = serve(&raw, *size);
            if let Some(fault) = fault(&case, &outcome) {
                faults.push(format!(
                    "{} in pieces of {size}: {fault}: {outcome:?}",
                    case["id"]
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
