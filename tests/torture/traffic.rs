//! Clients of one process of a scene: they pay, repeat what they know, ask for payments, sums and
//! metrics, and send again what got no answer. Whatever they were told is written down.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::kit::client::{Client, write_get, write_payment};
use crate::kit::dice::Dice;
use crate::kit::report::Report;
use crate::kit::told::{Amount, Numbers, Told, Word};

const CLIENTS: u32 = 6;
/// How often a payment without an answer is sent again, and how often a connect is tried.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(15);

/// The payments that clients send to one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) address: SocketAddr,
    pub(crate) numbers: Numbers,
    /// The first payment.
    pub(crate) first: u32,
    /// Payments of each client.
    pub(crate) each: u32,
    pub(crate) began: i64,
}

impl Traffic {
    /// The number behind the last one.
    pub(crate) const fn end(&self) -> u32 {
        self.first + CLIENTS * self.each
    }

    /// All clients to their end.
    pub(crate) fn run(&self, report: &mut Report) -> Vec<Told> {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|index| scope.spawn(move || self.client(index)))
                .collect();
            let mut all = Vec::new();
            for client in clients {
                let (told, silent) = client.join().expect("a client runs to its end");
                all.extend(told);
                if let Some(what) = silent {
                    report.broke("an answer or an end within 30 s", || what);
                }
            }
            all
        })
    }

    fn now_ms(&self) -> u32 {
        let now = jiff::Timestamp::now().as_millisecond() - self.began;
        u32::try_from(now).expect("a run is shorter than 49 days")
    }

    fn client(&self, index: u32) -> (Vec<Told>, Option<String>) {
        let mut dice = Dice::new(u64::from(self.first + index));
        let (mut told, mut silent, mut client) = (Vec::new(), None, None);
        let first = self.first + index * self.each;
        for number in first..first + self.each {
            for try_number in 0..TRIES {
                let Some(open) = self.open(&mut client) else {
                    return (told, silent);
                };
                let known =
                    first + u32::try_from(dice.below(u64::from(number - first + 1))).expect("fits");
                let word = match dice.below(12) {
                    0 => ask(open, &format!("/payments/{}", self.numbers.id(known))),
                    1 => ask(open, "/payments-summary"),
                    2 if number % 8 == 0 => ask(open, "/metrics"),
                    3 | 4 => self.pay(open, known, &mut told),
                    _ => self.pay(open, number, &mut told),
                };
                match word {
                    Ok(is_last) => {
                        if is_last {
                            client = None;
                        }
                        if told.last().is_some_and(|told| told.number == number) {
                            break;
                        }
                    }
                    Err(fault) => {
                        client = None;
                        if fault.kind() == std::io::ErrorKind::WouldBlock {
                            silent = Some(format!("{number}, try {try_number}: {fault}"));
                            break;
                        }
                    }
                }
            }
        }
        (told, silent)
    }

    fn open<'a>(&self, client: &'a mut Option<Client>) -> Option<&'a mut Client> {
        for _ in 0..TRIES {
            if client.is_none() {
                *client = Client::try_connect(self.address).ok();
            }
            if client.is_some() {
                break;
            }
            thread::sleep(PAUSE);
        }
        client.as_mut()
    }

    /// Whether the connection ends behind the answer.
    fn pay(&self, client: &mut Client, number: u32, told: &mut Vec<Told>) -> std::io::Result<bool> {
        let amount = Amount::Usual;
        let mut request = Vec::new();
        let id = self.numbers.id(number).to_string();
        write_payment(&id, self.numbers.amount(number, amount), &mut request);
        let sent_ms = self.now_ms();
        let answer = client.exchange(&request);
        let word = answer
            .as_ref()
            .map_or(Word::Silence, |answer| Word::of(answer, amount));
        told.push(Told {
            number,
            word,
            amount,
            sent_ms,
        });
        answer.map(|answer| answer.is_last())
    }
}

fn ask(client: &mut Client, path: &str) -> std::io::Result<bool> {
    let mut request = Vec::new();
    write_get(path, &mut request);
    client.exchange(&request).map(|answer| answer.is_last())
}
