//! Deliberate faults as text: small edits of the tree that a test must notice. `lab prove-world`
//! makes them one after the other; tests/house looks that each still finds its place.

use std::collections::BTreeMap;
use std::path::Path;

/// One fault.
#[derive(Clone, Debug, Default)]
pub(crate) struct Break {
    pub(crate) name: String,
    pub(crate) meaning: String,
    edits: Vec<Edit>,
}

/// What is in a file exactly once, and what comes instead.
#[derive(Clone, Debug, Default)]
struct Edit {
    file: String,
    old: String,
    new: String,
}

/// All faults of a list whose first lines explain its form. A group's name is in parentheses; it is
/// no fault by itself.
pub(crate) fn read(text: &str) -> Vec<Break> {
    let mut all: Vec<Break> = Vec::new();
    let mut is_in_edit = false;
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("## ") {
            let (name, meaning) = head.split_once(": ").unwrap_or((head, ""));
            all.push(Break {
                name: name.to_owned(),
                meaning: meaning.to_owned(),
                edits: Vec::new(),
            });
            is_in_edit = false;
        } else if let Some(group) = line.strip_prefix("with ") {
            let group = format!("({group})");
            let of_group = all.iter().find(|one| one.name == group);
            let edits = of_group.expect("the group comes first").edits.clone();
            all.last_mut().expect("a name").edits.extend(edits);
        } else if let Some(file) = line.strip_prefix("@@ ") {
            all.last_mut().expect("a name").edits.push(Edit {
                file: file.to_owned(),
                ..Edit::default()
            });
            is_in_edit = true;
        } else if is_in_edit && !line.is_empty() && !line.starts_with('#') {
            let edits = &mut all.last_mut().expect("a name").edits;
            edits.last_mut().expect("a file").add(line);
        }
    }
    all.retain(|one| !one.name.starts_with('('));
    all
}

impl Edit {
    fn add(&mut self, line: &str) {
        let (kind, text) = line.split_at(1);
        for (is_in, side) in [(kind != "+", &mut self.old), (kind != "-", &mut self.new)] {
            if is_in {
                side.push_str(text);
                side.push('\n');
            }
        }
    }
}

impl Break {
    /// The broken files of the tree at `root`; why not, when a text is not there exactly once.
    pub(crate) fn apply(&self, root: &Path) -> Result<BTreeMap<String, String>, String> {
        let mut texts = BTreeMap::new();
        for edit in &self.edits {
            let text = match texts.remove(&edit.file) {
                Some(text) => text,
                None => std::fs::read_to_string(root.join(&edit.file))
                    .map_err(|fault| format!("{}: {}: {fault}", self.name, edit.file))?,
            };
            let count = text.matches(&edit.old).count();
            if edit.old.is_empty() || count != 1 {
                let (name, file, old) = (&self.name, &edit.file, &edit.old);
                return Err(format!(
                    "{name}: {file} holds {count} times, not once:\n{old}"
                ));
            }
            texts.insert(edit.file.clone(), text.replacen(&edit.old, &edit.new, 1));
        }
        Ok(texts)
    }
}
