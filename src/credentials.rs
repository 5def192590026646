//! The values that a client must show, as all cores know them, and how they change while p99 runs.
//!
//! Every core holds one [`Credentials`]. The main thread reads AUTH_HEADER_VALUE_FILE again and
//! publishes what it holds; a core finds it where it needs the values. Cores look in every sweep
//! too, so that an idle one keeps no old values alive.
//!
//! `server` asks whether a request may pass, `pay` what to show to peers. Nothing here says which
//! calls need credentials, and nothing here prints a value.

use std::cell::Ref;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq};

use crate::config::{AuthHeader, Secret, read_secret_file};
use crate::generations::Generations;

/// One core's hold on the values. A clone is another core's.
#[derive(Clone, Debug)]
pub struct Credentials {
    values: Generations<Values>,
    header: Arc<str>,
    /// The setting that names `file`.
    setting: &'static str,
    file: Option<PathBuf>,
    guards_reads: bool,
}

/// What one reading of the file found.
#[derive(Debug)]
struct Values {
    values: Vec<Secret>,
    /// What a 401 says in WWW-Authenticate.
    challenge: String,
}

/// What reading the file again led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// There is no file: AUTH_HEADER_VALUE cannot change.
    NoFile,
    /// The file holds what it held.
    Unchanged,
    /// The values of the file hold from now on.
    Changed {
        /// How many were not there before.
        added: usize,
        /// How many are there no more.
        removed: usize,
    },
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => write!(f, "it is not set"),
            Self::Unchanged => write!(f, "unchanged"),
            Self::Changed { added, removed } => write!(f, "{added} added, {removed} removed"),
        }
    }
}

impl Credentials {
    /// The values of the start.
    #[must_use]
    pub fn new(auth: &AuthHeader) -> Self {
        Self {
            values: Generations::new(Values::new(&auth.name, auth.values.clone())),
            header: auth.name.as_str().into(),
            setting: auth.setting,
            file: auth.file.clone(),
            guards_reads: auth.guards_reads,
        }
    }

    /// The name of the header, in lower case.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// AUTH_READS: whether calls that only read need the credentials too.
    #[must_use]
    pub const fn guards_reads(&self) -> bool {
        self.guards_reads
    }

    /// Whether `given` is one of the values. All of them are compared, each in a time that depends
    /// on its length alone, so the time tells neither which one was near nor how near.
    #[must_use]
    pub fn accept(&self, given: &[u8]) -> bool {
        let current = self.current();
        let is_right = current.values.iter().fold(Choice::from(0), |found, value| {
            found | given.ct_eq(value.reveal().as_bytes())
        });
        is_right.into()
    }

    /// What a 401 says in WWW-Authenticate.
    #[must_use]
    pub fn challenge(&self) -> Ref<'_, str> {
        Ref::map(self.current(), |current| current.challenge.as_str())
    }

    /// What this instance shows to its peers: the first value.
    #[must_use]
    pub fn own_value(&self) -> Ref<'_, [u8]> {
        Ref::map(self.current(), |current| {
            current
                .values
                .first()
                .map_or(&b""[..], |value| value.reveal().as_bytes())
        })
    }

    /// Moves on to the newest values.
    pub fn refresh(&self) {
        self.values.refresh();
    }

    fn current(&self) -> Ref<'_, Values> {
        self.values.current()
    }

    /// The setting that names its file.
    #[must_use]
    pub const fn setting(&self) -> &'static str {
        self.setting
    }

    /// Reads its file again, for all cores. Called by the main thread.
    ///
    /// # Errors
    /// The file is not as it must be, in words for the operator; the values stay as they are.
    pub fn reload(&self) -> Result<Reloaded, String> {
        let Some(file) = &self.file else {
            return Ok(Reloaded::NoFile);
        };
        let values = read_secret_file(file)
            .map_err(|why| format!("{}={}: {why}", self.setting, file.display()))?;
        let current = self.current();
        if current.values == values {
            return Ok(Reloaded::Unchanged);
        }
        let missing = |these: &[Secret], those: &[Secret]| {
            these.iter().filter(|one| !those.contains(one)).count()
        };
        let reloaded = Reloaded::Changed {
            added: missing(&values, &current.values),
            removed: missing(&current.values, &values),
        };
        drop(current);
        // Only the main thread reads again, so no other one was faster.
        if self.values.publish(Values::new(&self.header, values)) {
            Ok(reloaded)
        } else {
            self.reload()
        }
    }
}

impl Values {
    fn new(header: &str, values: Vec<Secret>) -> Self {
        let challenge = challenge(header, values.first());
        Self { values, challenge }
    }
}

/// The challenge that fits (RFC 9110, section 11.6.1). A scheme is told only when it is a public
/// one: the first word of any other value is a part of the secret. A header other than
/// Authorization has no scheme of its own, so the challenge names the header.
fn challenge(header: &str, value: Option<&Secret>) -> String {
    let is_authorization = header.eq_ignore_ascii_case("authorization");
    let scheme = value.and_then(|value| value.reveal().split_once(' '));
    let public = ["Bearer", "Basic"]
        .into_iter()
        .find(|known| scheme.is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(known)));
    match public {
        Some(scheme) if is_authorization => format!("{scheme} realm=\"p99\""),
        Some(_) | None => format!("ApiKey realm=\"p99\", header=\"{header}\""),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn header(name: &str, values: &[&str], file: Option<PathBuf>) -> AuthHeader {
        AuthHeader {
            setting: "AUTH_HEADER_VALUE_FILE",
            name: name.to_owned(),
            values: values
                .iter()
                .map(|value| Secret::new((*value).to_owned()))
                .collect(),
            file,
            guards_reads: true,
        }
    }

    #[test]
    fn each_of_the_values_passes_and_nothing_else() {
        let credentials = Credentials::new(&header("x-key", &["new value", "old"], None));
        for right in ["new value", "old"] {
            assert!(credentials.accept(right.as_bytes()), "{right}");
        }
        for wrong in [
            "",
            "new",
            "olds",
            "ol",
            "new value\nold",
            "new valueold",
            "OLD",
        ] {
            assert!(!credentials.accept(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(&*credentials.own_value(), b"new value");
        assert_eq!(credentials.reload(), Ok(Reloaded::NoFile));
        assert!(!format!("{credentials:?}").contains("old"));
    }

    #[test]
    fn a_challenge_is_grammatical_and_gives_nothing_away() {
        let api_key = |header: &str| format!("ApiKey realm=\"p99\", header=\"{header}\"");
        let rows = [
            (
                "authorization",
                "Bearer abc",
                "Bearer realm=\"p99\"".to_owned(),
            ),
            (
                "authorization",
                "basic YTpi",
                "Basic realm=\"p99\"".to_owned(),
            ),
            ("authorization", "hunter two", api_key("authorization")),
            ("authorization", "hunter2", api_key("authorization")),
            ("x-key", "Bearer abc", api_key("x-key")),
        ];
        for (name, value, expected) in rows {
            let credentials = Credentials::new(&header(name, &[value], None));
            assert_eq!(&*credentials.challenge(), expected, "{name}: {value}");
        }
    }

    #[test]
    fn every_core_sees_what_the_file_holds_after_it_was_read_again() {
        let file = std::env::temp_dir().join(format!("p99-credentials-{}", std::process::id()));
        fs::write(&file, "one\n").unwrap();
        let auth = header("authorization", &["one"], Some(file.clone()));
        let main = Credentials::new(&auth);
        let cores = [main.clone(), main.clone()];
        assert_eq!(main.reload(), Ok(Reloaded::Unchanged));
        let accepted = |credentials: &Credentials| {
            ["one", "Bearer two", "three"].map(|value| credentials.accept(value.as_bytes()))
        };
        fs::write(&file, "Bearer two\none\n").unwrap();
        let changed = |added, removed| Ok(Reloaded::Changed { added, removed });
        assert_eq!(
            accepted(&cores[0]),
            [true, false, false],
            "not before it is asked"
        );
        assert_eq!(main.reload(), changed(1, 0));
        assert_eq!(accepted(&cores[0]), [true, true, false]);
        assert_eq!(&*cores[0].challenge(), "Bearer realm=\"p99\"");
        for bad in ["", "\n", "a\nb\nc\n", " spaced \n"] {
            fs::write(&file, bad).unwrap();
            let told = main.reload().unwrap_err();
            assert!(told.contains(file.to_str().unwrap()), "{told}");
            assert_eq!(
                accepted(&cores[0]),
                [true, true, false],
                "{bad:?} changes nothing"
            );
        }
        fs::write(&file, "three").unwrap();
        assert_eq!(main.reload(), changed(1, 2));
        fs::remove_file(&file).unwrap();
        assert!(main.reload().is_err());
        // The second core slept through all of it.
        let end = std::thread::spawn({
            let late = cores[1].clone();
            move || accepted(&late)
        });
        assert_eq!(end.join().unwrap(), [false, false, true]);
        assert_eq!(accepted(&cores[1]), [false, false, true]);
        assert_eq!(accepted(&cores[0]), [false, false, true]);
        let told = Reloaded::Changed {
            added: 1,
            removed: 2,
        }
        .to_string();
        assert_eq!(told, "1 added, 2 removed");
    }
}
