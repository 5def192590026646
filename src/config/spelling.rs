//! Finds variables whose name is one letter off a setting's: such a variable is ignored, and who
//! wrote it does not know. Pure; `main` passes the names of the environment.

use super::settings::{self, SETTINGS};

/// A variable that is no setting but nearly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// What is set.
    pub name: String,
    /// What was probably meant.
    pub meant: &'static str,
}

/// Every name of `names` that is one letter off a setting: one letter more, less, other, two
/// neighbours swapped, or only in another case.
pub fn near_misses(names: impl IntoIterator<Item = String>) -> Vec<NearMiss> {
    let near = |name: String| {
        if settings::find(&name).is_some() {
            return None;
        }
        let upper = name.to_ascii_uppercase();
        let meant = SETTINGS
            .iter()
            .find(|setting| is_one_off(&upper, setting.name))?
            .name;
        Some(NearMiss { name, meant })
    };
    names.into_iter().filter_map(near).collect()
}

/// Whether at most one edit turns `one` into `other`.
fn is_one_off(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() {
        (one.as_bytes(), other.as_bytes())
    } else {
        (other.as_bytes(), one.as_bytes())
    };
    if long.len() - short.len() > 1 {
        return false;
    }
    let same = short
        .iter()
        .zip(long)
        .take_while(|(left, right)| left == right)
        .count();
    let (short, long) = (
        short.get(same..).unwrap_or_default(),
        long.get(same..).unwrap_or_default(),
    );
    match (short, long) {
        ([], [] | [_]) => true,
        ([a, short @ ..], [b, long @ ..]) => {
            let swapped =
                matches!((short, long), ([c, x @ ..], [d, y @ ..]) if a == d && b == c && x == y);
            short == long || swapped || is_same_after_insert(a, short, long)
        }
        _ => false,
    }
}

/// Whether `[first, short..]` equals `long`: the other text's letter before it was the extra one.
fn is_same_after_insert(first: &u8, short: &[u8], long: &[u8]) -> bool {
    matches!(long, [letter, rest @ ..] if letter == first && rest == short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_one_letter_off_is_noticed() {
        let meant = |name: &str| {
            near_misses([name.to_owned()])
                .first()
                .map(|miss| miss.meant)
        };
        for (name, setting) in [
            ("REQUEST_TIMEOUT_M", "REQUEST_TIMEOUT_MS"),
            ("REQUEST_TIMEOUTS_MS", "REQUEST_TIMEOUT_MS"),
            ("REQUEST-TIMEOUT_MS", "REQUEST_TIMEOUT_MS"),
            ("REQEUST_TIMEOUT_MS", "REQUEST_TIMEOUT_MS"),
            ("request_timeout_ms", "REQUEST_TIMEOUT_MS"),
            ("PEER", "PEERS"),
            ("UPSTREAM_URL_A", ""),
            ("UPSTREAM_C_URL", "UPSTREAM_A_URL"),
            ("PEERS", ""),
            ("PATH", ""),
            ("HOME", ""),
            ("", ""),
        ] {
            assert_eq!(meant(name).unwrap_or_default(), setting, "{name}");
        }
    }
}
