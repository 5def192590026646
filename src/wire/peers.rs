//! What shards say to each other: who they are, beside a sum or alone. Both ends are p99's, and of
//! two releases during an upgrade, so unknown members are passed over.

use super::answers::{read_summary, write_totals};
use super::object::{read_object, read_string};
use super::problem::write_quoted;
use crate::payment::{Shard, WindowSums};

/// Who an instance is, and whom it has met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Which shard.
    pub shard: Shard,
    /// The journal of each shard, by its number less one; `None` where it has none or was not met.
    pub journals: Vec<Option<u64>>,
    /// How far each of them is, in the same order; `None` where that is not known.
    pub marks: Vec<Option<u64>>,
}

impl Introduction {
    /// The journal of the instance itself.
    #[must_use]
    pub fn journal(&self) -> Option<u64> {
        let index = usize::from(self.shard.number()).checked_sub(1)?;
        self.journals.get(index).copied().flatten()
    }
}

/// Appends a sum of this shard alone, and who it is. The set's id is the journal of shard 1.
pub(crate) fn write_shard_summary(
    sums: &WindowSums,
    introduction: &Introduction,
    out: &mut Vec<u8>,
) {
    write_totals(&sums.charged, out);
    out.extend_from_slice(b",\"pending\":");
    out.extend_from_slice(itoa::Buffer::new().format(sums.pending).as_bytes());
    let journals = &introduction.journals;
    let one = |journal: Option<u64>, out: &mut Vec<u8>| match journal {
        Some(id) => write_quoted(&format!("{id:016x}"), out),
        None => out.extend_from_slice(b"null"),
    };
    out.extend_from_slice(b",\"shard\":");
    write_quoted(&introduction.shard.to_string(), out);
    out.extend_from_slice(b",\"shardSet\":");
    one(journals.first().copied().flatten(), out);
    out.extend_from_slice(b",\"journal\":");
    one(introduction.journal(), out);
    for (name, list) in [
        (b",\"journals\":".as_slice(), journals),
        (b",\"marks\":", &introduction.marks),
    ] {
        out.extend_from_slice(name);
        let mut separator = b'[';
        for word in list {
            out.push(separator);
            separator = b',';
            one(*word, out);
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// Reads the sum of one shard. `None` for anything else: what is not whole is no sum.
#[must_use]
pub(crate) fn read_shard_sums(body: &[u8]) -> Option<WindowSums> {
    let [pending] = read_object(body, ["pending"]).ok()?;
    Some(WindowSums {
        charged: read_summary(body)?,
        // A release that did not say it knew of none.
        pending: pending.map_or(Some(0), |count| count.parse().ok())?,
    })
}

/// Reads who answered. `None` for anything else: what is not whole is no answer.
#[must_use]
pub(crate) fn read_introduction(body: &[u8]) -> Option<Introduction> {
    let [shard, journals, marks] = read_object(body, ["shard", "journals", "marks"]).ok()?;
    let shard = Shard::parse(&read_string(shard?)?)?;
    let count = usize::from(shard.count());
    Some(Introduction {
        shard,
        journals: read_words(journals?, count)?,
        // A release that did not say it knew of none.
        marks: match marks {
            Some(list) => read_words(list, count)?,
            None => vec![None; count],
        },
    })
}

/// A list with a word or nothing for each shard.
fn read_words(list: &str, count: usize) -> Option<Vec<Option<u64>>> {
    let list = list.strip_prefix('[')?.strip_suffix(']')?;
    let word = |text: &str| match text.trim() {
        "null" => Some(None),
        id => u64::from_str_radix(&read_string(id)?, 16).ok().map(Some),
    };
    let words: Option<Vec<_>> = list.split(',').map(word).collect();
    words.filter(|words| words.len() == count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Totals;

    #[test]
    fn a_shard_says_who_it_is_beside_its_sum() {
        let introduction = Introduction {
            shard: Shard::parse("2/3").unwrap(),
            journals: vec![Some(7), Some(u64::MAX), None],
            marks: vec![None, Some(7), None],
        };
        let mut sums = WindowSums {
            pending: 3,
            ..WindowSums::default()
        };
        sums.charged.0[1] = Totals {
            count: 2,
            cents: 398,
        };
        let mut body = Vec::new();
        write_shard_summary(&sums, &introduction, &mut body);
        let text = String::from_utf8(body.clone()).unwrap();
        let (first, own) = (r#""0000000000000007""#, r#""ffffffffffffffff""#);
        let end = format!(
            r#""shard":"2/3","shardSet":{first},"journal":{own},"journals":[{first},{own},null],"marks":[null,{first},null]}}"#
        );
        assert!(text.ends_with(&end), "{text}");
        assert_eq!(read_introduction(&body), Some(introduction));
        assert_eq!(read_shard_sums(&body), Some(sums));
        let of_an_older_release = text.replace(r#""pending":3,"#, "");
        sums.pending = 0;
        assert_eq!(read_shard_sums(of_an_older_release.as_bytes()), Some(sums));
        let of_an_older_release = text.replace(&format!(r#","marks":[null,{first},null]"#), "");
        let said = read_introduction(of_an_older_release.as_bytes()).unwrap();
        assert_eq!(said.marks, [None; 3], "it is not known how far they are");
        let unreadable = text.replace(r#""pending":3,"#, r#""pending":-3,"#);
        assert_eq!(read_shard_sums(unreadable.as_bytes()), None);
        for end in 0..body.len() {
            assert_eq!(read_introduction(&body[..end]), None);
        }
    }

    #[test]
    fn what_no_shard_says_is_no_introduction() {
        for bad in [
            "{}",
            r#"{"shard":"2/3"}"#,
            r#"{"shard":"2/3","journals":[]}"#,
            r#"{"shard":"2/3","journals":[null,null]}"#,
            r#"{"shard":"2/3","journals":[null,null,null,null]}"#,
            r#"{"shard":"4/3","journals":[null,null,null]}"#,
            r#"{"shard":"2/3","journals":[null,1,null]}"#,
            r#"{"shard":"2/3","journals":[null,"x",null]}"#,
            r#"{"shard":"2/3","journals":null}"#,
            r#"{"shard":"2/3","journals":[null,null,null],"marks":[null,null]}"#,
            r#"{"shard":2,"journals":[null,null]}"#,
        ] {
            assert_eq!(read_introduction(bad.as_bytes()), None, "{bad}");
        }
    }
}
