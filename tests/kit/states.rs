//! What p99 says of every payment, asked one by one with `GET /payments/{id}`, many in one write.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use p99::testing::clock::UnixMillis;
use p99::testing::payment::Cents;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{Answer, Client, write_get};
use super::told::Numbers;

/// Requests in one write: 3 KB, less than any buffer on the way.
const BATCH: usize = 32;
const THREADS: usize = 4;
/// A core that has no time just now is asked again for so long.
const BUSY_MAX: Duration = Duration::from_secs(20);

/// What p99 says of one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// 404.
    Missing,
    Pending,
    Refused,
    Processed(Charge),
    /// Anything that cannot be read as one of these.
    Odd(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) processor: usize,
    pub(crate) amount: Cents,
    pub(crate) requested_at: UnixMillis,
}

/// The states of the payments 0 to `count`, without it.
pub(crate) fn ask_all(address: SocketAddr, numbers: Numbers, count: u32) -> io::Result<Vec<State>> {
    ask_some(address, numbers, &(0..count).collect::<Vec<_>>())
}

/// The states of these payments, in this order.
pub(crate) fn ask_some(
    address: SocketAddr,
    numbers: Numbers,
    list: &[u32],
) -> io::Result<Vec<State>> {
    let share = list.len().div_ceil(THREADS).max(1);
    thread::scope(|scope| {
        let threads: Vec<_> = list
            .chunks(share)
            .map(|part| scope.spawn(move || ask(address, numbers, part)))
            .collect();
        let mut all = Vec::with_capacity(list.len());
        for thread in threads {
            all.extend(thread.join().expect("asks to the end")?);
        }
        Ok(all)
    })
}

fn ask(address: SocketAddr, numbers: Numbers, list: &[u32]) -> io::Result<Vec<State>> {
    let mut client = Client::try_connect(address)?;
    let mut states = Vec::new();
    let mut requests = Vec::new();
    for batch in list.chunks(BATCH) {
        requests.clear();
        for number in batch {
            write_get(&format!("/payments/{}", numbers.id(*number)), &mut requests);
        }
        client.send_bytes(&requests)?;
        for number in batch {
            let mut answer = client.read()?;
            if answer.status == 503 {
                answer = ask_again(address, &format!("/payments/{}", numbers.id(*number)))?;
            }
            states.push(read(&answer));
        }
    }
    Ok(states)
}

fn ask_again(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut client = Client::try_connect(address)?;
    let mut request = Vec::new();
    write_get(path, &mut request);
    let began = Instant::now();
    loop {
        let answer = client.exchange(&request)?;
        if answer.status != 503 || began.elapsed() > BUSY_MAX {
            return Ok(answer);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn read(answer: &Answer) -> State {
    if answer.status == 404 {
        return State::Missing;
    }
    read_found(answer).unwrap_or_else(|| State::Odd(format!("{} {}", answer.status, answer.body)))
}

fn read_found(answer: &Answer) -> Option<State> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Found<'a> {
        status: &'a str,
        processor: Option<&'a str>,
        #[serde(borrow)]
        amount: &'a RawValue,
        requested_at: Option<&'a str>,
    }
    if answer.status != 200 {
        return None;
    }
    let found: Found<'_> = serde_json::from_str(&answer.body).ok()?;
    match found.status {
        "pending" => Some(State::Pending),
        "refused" => Some(State::Refused),
        "processed" => Some(State::Processed(Charge {
            processor: ["default", "fallback"]
                .iter()
                .position(|name| Some(*name) == found.processor)?,
            amount: Cents(u64::try_from(read_cents(found.amount.get())?).ok()?),
            requested_at: read_date(found.requested_at?)?,
        })),
        _ => None,
    }
}

fn read_date(text: &str) -> Option<UnixMillis> {
    let date: jiff::Timestamp = text.parse().ok()?;
    Some(UnixMillis(date.as_millisecond()))
}

/// A sum with two decimals, as p99 writes all of its money, without a float.
fn read_cents(text: &str) -> Option<u128> {
    let (whole, fraction) = text.split_once('.')?;
    if fraction.len() != 2 {
        return None;
    }
    format!("{whole}{fraction}").parse().ok()
}

/// Count and cents of both processors, as `/payments-summary` has them; `query` with its question
/// mark.
pub(crate) fn ask_summary(address: SocketAddr, query: &str) -> Result<[(u64, u128); 2], String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Part<'a> {
        total_requests: u64,
        #[serde(borrow)]
        total_amount: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Summary<'a> {
        #[serde(borrow)]
        default: Part<'a>,
        #[serde(borrow)]
        fallback: Part<'a>,
    }
    let answer = ask_again(address, &format!("/payments-summary{query}"))
        .map_err(|fault| fault.to_string())?;
    let odd = || format!("the summary is {} {}", answer.status, answer.body);
    let summary: Summary<'_> = serde_json::from_str(&answer.body).map_err(|_| odd())?;
    let part = |part: &Part<'_>| {
        let cents = read_cents(part.total_amount.get()).ok_or_else(odd)?;
        Ok::<_, String>((part.total_requests, cents))
    };
    Ok([part(&summary.default)?, part(&summary.fallback)?])
}
