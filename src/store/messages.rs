//! PostgreSQL's values as bytes, both ways, and what a server says of one transaction. Pure. Bytes
//! from the server are read with care: what is not as it must be is a fault of the connection, and
//! never an assertion.

use bytes::{BufMut, Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorFields, Message};

use super::doubt::{Ended, Severity, Told};
use super::sql::Statement;

/// A parameter; `None` is NULL.
pub(super) type Value = Option<BytesMut>;

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) statement: Statement,
    pub(super) values: Vec<Value>,
}

/// What one statement answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    pub(super) rows: Vec<Fields>,
    /// How many rows its tag counts.
    pub(super) count: u64,
}

const UUID: u32 = 2_950;
const INT8: u32 = 20;
const INT2: u32 = 21;
const TEXT: u32 = 25;

fn plain(bytes: &[u8]) -> Value {
    Some(BytesMut::from(bytes))
}

pub(super) fn int4(value: i32) -> Value {
    plain(&value.to_be_bytes())
}

pub(super) fn int8(value: i64) -> Value {
    plain(&value.to_be_bytes())
}

pub(super) fn text(value: &str) -> Value {
    plain(value.as_bytes())
}

pub(super) fn uuid(value: u128) -> Value {
    plain(&value.to_be_bytes())
}

pub(super) fn int2s(values: impl ExactSizeIterator<Item = Option<i16>>) -> Value {
    array(INT2, values.map(|one| one.map(i16::to_be_bytes)))
}

pub(super) fn int8s(values: impl ExactSizeIterator<Item = Option<i64>>) -> Value {
    array(INT8, values.map(|one| one.map(i64::to_be_bytes)))
}

pub(super) fn uuids(values: impl ExactSizeIterator<Item = u128>) -> Value {
    array(UUID, values.map(|one| Some(one.to_be_bytes())))
}

pub(super) fn texts(values: impl ExactSizeIterator<Item = Option<String>>) -> Value {
    array(TEXT, values.map(|one| one.map(String::into_bytes)))
}

/// An array of one dimension: its head, then each element behind its length.
fn array<B: AsRef<[u8]>>(element: u32, values: impl ExactSizeIterator<Item = Option<B>>) -> Value {
    let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
    let mut bytes = BytesMut::with_capacity(20 + values.len() * 20);
    bytes.put_i32(i32::from(count > 0));
    bytes.put_i32(1);
    bytes.put_u32(element);
    if count > 0 {
        bytes.put_i32(count);
        bytes.put_i32(1);
    }
    for value in values {
        match value {
            None => bytes.put_i32(-1),
            Some(value) => {
                let value = value.as_ref();
                bytes.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
                bytes.extend_from_slice(value);
            }
        }
    }
    Some(bytes)
}

/// The fields of a row, read one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(std::collections::VecDeque<Option<Bytes>>);

/// A row is not as its statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misread;

impl Fields {
    fn next(&mut self) -> Result<Option<Bytes>, Misread> {
        self.0.pop_front().ok_or(Misread)
    }

    fn fixed<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Misread> {
        let Some(bytes) = self.next()? else {
            return Ok(None);
        };
        <[u8; N]>::try_from(&bytes[..])
            .map(Some)
            .map_err(|_| Misread)
    }

    pub(super) fn int2(&mut self) -> Result<Option<i16>, Misread> {
        Ok(self.fixed()?.map(i16::from_be_bytes))
    }

    pub(super) fn int4(&mut self) -> Result<i32, Misread> {
        self.fixed()?.map(i32::from_be_bytes).ok_or(Misread)
    }

    pub(super) fn int8(&mut self) -> Result<i64, Misread> {
        self.maybe_int8()?.ok_or(Misread)
    }

    pub(super) fn maybe_int8(&mut self) -> Result<Option<i64>, Misread> {
        Ok(self.fixed()?.map(i64::from_be_bytes))
    }

    pub(super) fn uuid(&mut self) -> Result<u128, Misread> {
        self.fixed()?.map(u128::from_be_bytes).ok_or(Misread)
    }

    /// All of them as text, as they come without the extended protocol.
    pub(super) fn texts(mut self) -> Result<Vec<Option<String>>, Misread> {
        let count = self.0.len();
        (0..count).map(|_| self.text()).collect()
    }

    pub(super) fn text(&mut self) -> Result<Option<String>, Misread> {
        let Some(bytes) = self.next()? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some).map_err(|_| Misread)
    }
}

/// Gathers what a server says of one pipelined transaction, up to ReadyForQuery.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// One for each statement that was completed.
    pub(super) outputs: Vec<Output>,
    now: Output,
    /// How many statements there are; the last one is COMMIT.
    statements: usize,
    has_committed: bool,
    warning: Option<Told>,
    error: Option<(Told, Severity)>,
}

impl Transcript {
    pub(super) fn of(statements: usize) -> Self {
        Self {
            statements,
            ..Self::default()
        }
    }

    /// Takes the next message; returns how it ended, if it did.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the library may know more messages than any server sends here"
    )]
    pub(super) fn take(&mut self, message: Message) -> Result<Option<Ended>, Misread> {
        match message {
            Message::DataRow(body) => {
                let buffer = body.buffer_bytes().clone();
                let ranges = body.ranges();
                let cells = ranges.map(|range| Ok(range.map(|range| buffer.slice(range))));
                let cells: Vec<Option<Bytes>> = cells.collect().map_err(|_| Misread)?;
                self.now.rows.push(Fields(cells.into()));
            }
            Message::CommandComplete(body) => {
                let tag = body.tag().map_err(|_| Misread)?;
                let is_last = self.outputs.len() + 1 == self.statements;
                self.has_committed = is_last && tag == "COMMIT";
                let mut output = std::mem::take(&mut self.now);
                output.count = tag
                    .rsplit(' ')
                    .next()
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0);
                self.outputs.push(output);
            }
            Message::ErrorResponse(body) => {
                let (told, severity) = told(body.fields())?;
                let is_before = self.outputs.len() + 1 < self.statements && severity == "ERROR";
                let severity = if is_before {
                    Severity::BeforeCommit
                } else {
                    Severity::AtCommit
                };
                self.error.get_or_insert((told, severity));
            }
            Message::NoticeResponse(body) => {
                let (told, severity) = told(body.fields())?;
                if severity == "WARNING" || told.code.starts_with(b"01") {
                    self.warning.get_or_insert(told);
                }
            }
            Message::ReadyForQuery(body) => {
                return Ok(Some(Ended::Ready {
                    status: body.status(),
                    has_committed: self.has_committed,
                    warning: self.warning.take(),
                    error: self.error.take(),
                }));
            }
            Message::BindComplete
            | Message::ParseComplete
            | Message::CloseComplete
            | Message::NoData
            | Message::RowDescription(_)
            | Message::EmptyQueryResponse
            | Message::ParameterStatus(_)
            | Message::NotificationResponse(_) => {}
            _ => return Err(Misread),
        }
        Ok(None)
    }
}

/// The SQLSTATE, the text and the severity of an error or a notice. `V` is never translated.
pub(super) fn told(mut fields: ErrorFields<'_>) -> Result<(Told, String), Misread> {
    let mut told = Told {
        code: *b"XX000",
        text: String::new(),
    };
    let mut severity = String::new();
    while let Some(field) = fields.next().map_err(|_| Misread)? {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => told.code = value.as_bytes().try_into().map_err(|_| Misread)?,
            b'M' => told.text = value,
            b'V' => severity = value,
            _ => {}
        }
    }
    Ok((told, severity))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Message {
        Message::parse(&mut BytesMut::from(bytes)).unwrap().unwrap()
    }

    fn message(tag: u8, body: &[u8]) -> Message {
        let mut bytes = vec![tag];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        parse(&bytes)
    }

    fn ended(messages: Vec<Message>, statements: usize) -> Result<Option<Ended>, Misread> {
        let mut transcript = Transcript::of(statements);
        for message in messages {
            if let Some(ended) = transcript.take(message)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    #[test]
    fn an_array_is_as_the_server_reads_it() {
        let bytes = int2s([Some(5), None].into_iter()).unwrap();
        let expected: &[u8] = &[
            0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 21, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 255,
            255, 255, 255,
        ];
        assert_eq!(&bytes[..], expected);
        let empty = uuids([].into_iter()).unwrap();
        assert_eq!(&empty[..], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 11, 134]);
    }

    #[test]
    fn a_transaction_is_committed_by_its_last_tag_alone() {
        let commit = || message(b'C', b"COMMIT\0");
        let ready = || message(b'Z', b"I");
        let is = |messages: Vec<Message>, statements| {
            let Some(Ended::Ready { has_committed, .. }) = ended(messages, statements).unwrap()
            else {
                panic!("not ready")
            };
            has_committed
        };
        assert!(is(vec![message(b'C', b"BEGIN\0"), commit(), ready()], 2));
        assert!(!is(vec![commit(), ready()], 2));
        let rolled_back = message(b'C', b"ROLLBACK\0");
        assert!(!is(
            vec![message(b'C', b"BEGIN\0"), rolled_back, ready()],
            2
        ));
    }

    #[test]
    fn an_error_is_before_commit_only_where_commit_had_no_turn() {
        let error = |severity: &str| {
            let body = format!("S{severity}\0V{severity}\0C40001\0Mno\0\0");
            message(b'E', body.as_bytes())
        };
        let ready = || message(b'Z', b"E");
        let begin = || message(b'C', b"BEGIN\0");
        let is = |messages: Vec<Message>| match ended(messages, 3).unwrap() {
            Some(Ended::Ready { error, .. }) => error.unwrap().1,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            is(vec![begin(), error("ERROR"), ready()]),
            Severity::BeforeCommit
        );
        assert_eq!(
            is(vec![begin(), error("FATAL"), ready()]),
            Severity::AtCommit
        );
        let late = vec![begin(), begin(), error("ERROR"), ready()];
        assert_eq!(is(late), Severity::AtCommit);
    }

    #[test]
    fn what_is_no_answer_is_a_fault_and_no_panic() {
        assert!(ended(vec![message(b'G', &[0, 0, 0])], 1).is_err());
        assert!(ended(vec![message(b'D', &[0, 9, 1])], 1).is_err());
        assert!(ended(vec![message(b'E', b"C4\0\0")], 1).is_err());
        let mut fields = Fields([Some(Bytes::from_static(b"abc")), None].into());
        assert_eq!(fields.int8(), Err(Misread));
        assert_eq!(fields.text(), Ok(None));
        assert_eq!(fields.int4(), Err(Misread));
    }
}
