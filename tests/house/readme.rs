//! README.pt-BR.md translates README up to its guarantees, and some settings. What both have in
//! common is compared; prose cannot be, so the translation has a checksum of what it translates.

use std::fs;

use super::tree::root;

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The part that is translated as a whole.
fn opening(readme: &str) -> &str {
    let (opening, _) = readme.split_once("\n## Guarantees").unwrap();
    opening
}

/// The lines between fences.
fn code(text: &str) -> Vec<&str> {
    let mut is_code = false;
    text.lines()
        .filter(|line| {
            is_code ^= line.starts_with("```");
            is_code
        })
        .collect()
}

/// The cells of each table's rows, its head and rule left out.
fn tables(text: &str) -> Vec<Vec<Vec<&str>>> {
    let mut tables: Vec<Vec<Vec<&str>>> = Vec::new();
    let mut is_table = false;
    for line in text.lines() {
        let is_row = line.starts_with("| ");
        if is_row && !is_table {
            tables.push(Vec::new());
        } else if is_row {
            let cells = line.trim_matches('|').split('|').map(str::trim);
            tables.last_mut().unwrap().push(cells.collect());
        }
        is_table = is_row || line.starts_with("|---");
    }
    tables
}

#[test]
fn the_translation_has_the_commands_and_calls_of_readme() {
    let (readme, translation) = (read("README.md"), read("README.pt-BR.md"));
    let opening = opening(&readme);
    assert_eq!(code(opening), code(&translation));
    let (ours, theirs) = (tables(opening), tables(&translation));
    assert_eq!(ours.len(), 2, "calls and answers");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let names = |table: &[Vec<&str>]| -> Vec<String> {
            table.iter().map(|row| row[0].to_owned()).collect()
        };
        let is_code = |name: &String| name.contains(|one: char| one == '`' || one.is_ascii_digit());
        let (mut ours, mut theirs) = (names(ours), names(theirs));
        ours.retain(is_code);
        theirs.retain(is_code);
        assert_eq!(ours, theirs);
    }
    let money = |table: &[Vec<&str>]| -> Vec<String> {
        let last = table.iter().map(|row| row[row.len() - 1].to_owned());
        last.collect()
    };
    let translated: Vec<String> = money(&ours[1])
        .iter()
        .map(|word| match word.as_str() {
            "yes" => "sim",
            "no" => "não",
            "pending" => "pendente",
            "as before" => "como antes",
            "unknown" => "desconhecido",
            other => panic!("{other} has no translation here"),
        })
        .map(str::to_owned)
        .collect();
    assert_eq!(money(&theirs[1]), translated);
}

#[test]
fn the_translation_has_settings_and_defaults_of_readme() {
    let (readme, translation) = (read("README.md"), read("README.pt-BR.md"));
    let ours = tables(&readme).concat();
    let theirs = tables(&translation);
    assert!(theirs[2].len() > 10);
    for row in &theirs[2] {
        let name = row[0];
        let setting = ours
            .iter()
            .find(|ours| ours[0] == name && ours.len() == 5)
            .unwrap_or_else(|| panic!("{name} is no setting"));
        assert_eq!(setting[2], row[1], "the default of {name}");
    }
}

#[test]
fn the_translation_is_of_this_readme() {
    let (readme, translation) = (read("README.md"), read("README.pt-BR.md"));
    let checksum = format!("crc32 {:08x}", crc32fast::hash(opening(&readme).as_bytes()));
    assert!(
        translation.lines().next().unwrap().contains(&checksum),
        "README.md has changed: translate what is new in README.pt-BR.md, then write \
         `{checksum}` in its first line"
    );
}
