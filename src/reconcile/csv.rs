//! A book as comma-separated values (RFC 4180, and what spreadsheets make of it): comma, semicolon
//! or tab between the fields, quotes, CRLF or LF, a byte order mark, columns in any order with
//! others beside them. `csv_core` knows the grammar; here is what the columns mean, and where a
//! file may be cut: a last line without its line end is refused, since `19.9` may have been
//! `19.95`.

use std::io::Read;

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::amount;
use super::row::{BookFault, Row, Taker};
use crate::payment::CorrelationId;
use crate::reconcile::RECONCILE_READ_BYTES;
use crate::reconcile::RECONCILE_ROW_BYTES_MAX;
use crate::wire::read_stored_moment;

/// Most columns of a book.
const RECONCILE_COLUMNS_MAX: usize = 1_024;

/// Spreadsheets write it before UTF-8.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// Where the columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    count: usize,
    id: usize,
    amount: usize,
    at: Option<usize>,
}

/// One line, cut into fields.
#[derive(Debug)]
struct Record<'a> {
    fields: Vec<&'a [u8]>,
    /// The line that it ends on.
    line: u64,
    has_end: bool,
}

/// Reads the book whose first line is `start`.
pub(super) fn read(
    (start, source): (&[u8], impl Read),
    taker: &mut Taker<'_>,
) -> Result<(), BookFault> {
    let (delimiter, columns) = match header(start) {
        Ok(found) => found,
        Err(what) => {
            taker.fault(1, what);
            return Ok(());
        }
    };
    let mut is_header = true;
    for_each_record(start.chain(source), delimiter, |record| match record {
        Ok(record) if std::mem::take(&mut is_header) => {
            if !record.has_end {
                taker.fault(record.line, "has no line end, so the book may be cut here");
            }
            Ok(())
        }
        Ok(record) => match row(&record, &columns) {
            Ok(row) => taker.row(row),
            Err(what) => {
                taker.fault(record.line, what);
                Ok(())
            }
        },
        Err((line, what)) => {
            taker.fault(line, what);
            Ok(())
        }
    })
}

/// What separates the fields, and which of them are wanted.
fn header(start: &[u8]) -> Result<(u8, Columns), String> {
    if std::str::from_utf8(start).is_err() {
        return Err("is not UTF-8".to_owned());
    }
    let mut faults = Vec::new();
    for delimiter in [b',', b';', b'\t'] {
        let mut found = Err("the book is empty".to_owned());
        for_each_record(start, delimiter, |record| {
            if let Ok(record) = record {
                found = columns(&record.fields);
            }
            Ok(())
        })
        .unwrap_or_default();
        match found {
            Ok(columns) => return Ok((delimiter, columns)),
            Err(fault) => faults.push(fault),
        }
    }
    Err(faults.swap_remove(0))
}

fn columns(names: &[&[u8]]) -> Result<Columns, String> {
    let plain = |name: &&[u8]| -> String {
        let letters = String::from_utf8_lossy(name).to_ascii_lowercase();
        letters
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect()
    };
    let names: Vec<String> = names.iter().map(plain).collect();
    let place = |wanted: &str| {
        let mut places = (0..)
            .zip(&names)
            .filter(|(_, name)| name.as_str() == wanted);
        match (places.next(), places.next()) {
            (Some(_), Some(_)) => Err(format!("has two columns `{wanted}`")),
            (place, _) => Ok(place.map(|(place, _)| place)),
        }
    };
    let missing = |name: &str| format!("is no header: it has no column `{name}`");
    Ok(Columns {
        count: names.len(),
        id: match place("correlationid")? {
            Some(place) => place,
            None => place("id")?.ok_or_else(|| missing("correlationId"))?,
        },
        amount: place("amount")?.ok_or_else(|| missing("amount"))?,
        at: place("requestedat")?,
    })
}

/// The payment that the line says.
fn row(record: &Record<'_>, columns: &Columns) -> Result<Row, String> {
    let count = record.fields.len();
    if !record.has_end {
        return Err(format!(
            "has no line end, so the book may be cut here ({count} of {} fields): end the line if \
             it is whole",
            columns.count
        ));
    }
    if count != columns.count {
        return Err(format!("has {count} fields, the header {}", columns.count));
    }
    let field = |place: usize| {
        let bytes = record.fields.get(place).copied().unwrap_or_default();
        std::str::from_utf8(bytes)
            .map(str::trim)
            .map_err(|_| "is not UTF-8".to_owned())
    };
    let (id, money) = (field(columns.id)?, field(columns.amount)?);
    let correlation_id =
        CorrelationId::try_new(id).map_err(|_| format!("{id:?} is no correlationId"))?;
    let amount = amount::read(money).map_err(|what| format!("{money:?} {what}"))?;
    let at = match columns.at.map(field).transpose()? {
        None | Some("") => None,
        Some(text) => {
            Some(read_stored_moment(text).ok_or_else(|| format!("{text:?} is no requestedAt"))?)
        }
    };
    Ok(Row {
        id: correlation_id.upstream_id(),
        amount,
        at,
        line: record.line,
    })
}

/// Cuts the text into records; what is longer than one may be ends the reading.
fn for_each_record(
    mut source: impl Read,
    delimiter: u8,
    mut each: impl FnMut(Result<Record<'_>, (u64, String)>) -> Result<(), BookFault>,
) -> Result<(), BookFault> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
    let mut input = vec![0; RECONCILE_READ_BYTES];
    let (mut from, mut until) = (0, 0);
    let mut text = vec![0; RECONCILE_ROW_BYTES_MAX];
    let mut ends = vec![0; RECONCILE_COLUMNS_MAX];
    let (mut text_end, mut field_count) = (0, 0);
    let (mut line_ends, mut last) = (0_u64, 0_u8);
    let mut is_at_end = false;
    loop {
        if from == until && !is_at_end {
            (from, until) = (0, source.read(&mut input).map_err(BookFault::Io)?);
            is_at_end = until == 0;
        }
        let fresh = input.get(from..until).unwrap_or_default();
        let (result, taken, written, found) = reader.read_record(
            fresh,
            text.get_mut(text_end..).unwrap_or_default(),
            ends.get_mut(field_count..).unwrap_or_default(),
        );
        let taken = fresh.get(..taken).unwrap_or_default();
        line_ends += taken
            .iter()
            .map(|byte| u64::from(*byte == b'\n'))
            .sum::<u64>();
        last = taken.last().copied().unwrap_or(last);
        from += taken.len();
        (text_end, field_count) = (text_end + written, field_count + found);
        let line = line_ends + u64::from(last != b'\n');
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::End => return Ok(()),
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                let what = "is longer than any payment: a quote may be open".to_owned();
                return each(Err((line, what)));
            }
            ReadRecordResult::Record => {
                let starts = std::iter::once(&0).chain(&ends).copied();
                let fields = starts.zip(ends.iter().copied()).take(field_count);
                let fields = fields.map(|(start, end)| text.get(start..end).unwrap_or_default());
                each(Ok(Record {
                    fields: fields.collect(),
                    line,
                    // Only the end of the input ends a record that no line end has ended.
                    has_end: !is_at_end,
                }))?;
                (text_end, field_count) = (0, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::tests::rows;
    use super::*;
    use crate::clock::UnixMillis;
    use crate::payment::Cents;

    const A: &str = "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3";
    const AT: UnixMillis = UnixMillis(1_752_150_896_789);
    const TIME: &str = "2025-07-10T12:34:56.789Z";

    fn row_of(id: &str, cents: u64, at: Option<UnixMillis>, line: u64) -> Row {
        let id = CorrelationId::try_new(id).unwrap().upstream_id();
        let amount = Cents(cents);
        Row {
            id,
            amount,
            at,
            line,
        }
    }

    #[test]
    fn every_dialect_says_the_same() {
        let expected = vec![
            row_of(A, 1990, Some(AT), 2),
            row_of("test-123", 5, Some(AT), 3),
        ];
        for text in [
            format!("correlationId,amount,requestedAt\n{A},19.90,{TIME}\ntest-123,0.05,{TIME}\n"),
            format!("correlationId;amount;requestedAt\n{A};19,90;{TIME}\ntest-123;0,05;{TIME}\n"),
            format!(
                "\u{feff}correlationId;amount;requestedAt\r\n{A};19,9;{TIME}\r\n\
                     test-123;0,05;{TIME}\r\n"
            ),
            format!(
                "Requested_At,fee,AMOUNT,ID\n{TIME},1,\"19,90\",{}\n\
                 {TIME},2,\"0.05\",test-123\n",
                A.to_uppercase()
            ),
            format!(
                "\"requested at\"\t\"amount\"\t\"correlation id\"\r\n\
                 \"{TIME}\"\t\"19.9\"\t\"{A}\"\r\n\
                     {TIME}\t0.05\ttest-123\r\n"
            ),
        ] {
            assert_eq!(rows(text.as_bytes()), Ok(expected.clone()), "{text}");
        }
        let text = format!("id,amount\n\n{A},19.90\n\n\n");
        assert_eq!(rows(text.as_bytes()), Ok(vec![row_of(A, 1990, None, 3)]));
        let text = format!("note,id,amount\n\"two\r\nlines, \"\"quoted\"\"\",{A},1\n");
        assert_eq!(rows(text.as_bytes()), Ok(vec![row_of(A, 100, None, 3)]));
        assert_eq!(
            rows(b"id,amount\n"),
            Ok(Vec::new()),
            "a day without a payment"
        );
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        let head = format!("id;amount;requestedAt\n{A};1,00;{TIME}\n");
        for (line, what) in [
            (
                format!("{A};19"),
                "line 3: has no line end, so the book may be cut here (2 of 3",
            ),
            (format!("{A};19,9;{TIME}"), "line 3: has no line end"),
            (format!("{A};\"19,9;{TIME}\n"), "line 3: has no line end"),
            (format!("{A};19\n"), "line 3: has 2 fields, the header 3"),
            (format!("{A};1;9;0\n"), "line 3: has 4 fields, the header 3"),
            (
                format!("{A};1.234;{TIME}\n"),
                "line 3: \"1.234\" may be thousands or a fraction",
            ),
            (
                format!("{A};-1,00;{TIME}\n"),
                "line 3: \"-1,00\" is no amount",
            ),
            (format!("\n\n{A} x;1,00;{TIME}\n"), "line 5: "),
            (
                format!("{A};1,00;yesterday\n"),
                "line 3: \"yesterday\" is no requestedAt",
            ),
        ] {
            let fault = rows(format!("{head}{line}").as_bytes()).unwrap_err();
            assert!(fault.contains(what), "{line}: {fault}");
        }
        for (text, what) in [
            ("", "line 1: the book is empty"),
            (
                "amount,requestedAt\n1,x\n",
                "line 1: is no header: it has no column `correlationId`",
            ),
            (
                "id,sum\n1,x\n",
                "line 1: is no header: it has no column `amount`",
            ),
            (
                "id,amount,Amount\n1,2,3\n",
                "line 1: has two columns `amount`",
            ),
        ] {
            let fault = rows(text.as_bytes()).unwrap_err();
            assert!(fault.contains(what), "{text}: {fault}");
        }
        let wide: Vec<u8> = "id,amount\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert!(
            rows(&[b"\xff\xfe", &wide[..]].concat())
                .unwrap_err()
                .contains("not UTF-8")
        );
        let open = format!(
            "id,amount\n{A},\"1.00\n{}",
            "x\n".repeat(RECONCILE_ROW_BYTES_MAX)
        );
        assert!(
            rows(open.as_bytes())
                .unwrap_err()
                .contains("a quote may be open")
        );
    }

    #[test]
    fn a_book_cut_at_any_byte_is_refused_or_is_whole_lines() {
        let text = format!("id;amount;requestedAt\r\n{A};19,90;{TIME}\r\ntest-123;0,05;{TIME}\r\n");
        let all = rows(text.as_bytes()).unwrap();
        let lines: Vec<usize> = text.match_indices('\r').map(|(at, _)| at).collect();
        for cut in 0..text.len() {
            // At a CR or behind it the line is whole.
            let whole = lines.iter().filter(|at| **at < cut).count();
            let is_whole = lines.iter().any(|at| (at + 1..=at + 2).contains(&cut));
            match rows(&text.as_bytes()[..cut]) {
                Ok(rows) => {
                    assert!(is_whole, "{cut}");
                    assert_eq!(rows, all[..whole - 1], "{cut}");
                }
                Err(_) => assert!(!is_whole, "{cut}"),
            }
        }
    }
}
