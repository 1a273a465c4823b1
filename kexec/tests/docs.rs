// SPDX-License-Identifier: BSD-2-Clause
//! What the documentation must say.

use std::fs;
use std::path::Path;

/// The items of a source that are public and whose documentation has no section `# IRQL`, with their lines.
fn silent(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut documented, mut says) = (false, false);
    for (index, line) in source.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("///") {
            documented = true;
            says |= line == "/// # IRQL";
            continue;
        }
        let item = [
            "pub fn ",
            "pub const fn ",
            "pub async fn ",
            "pub unsafe fn ",
            "pub const unsafe fn ",
            "pub struct ",
            "pub enum ",
            "pub trait ",
        ]
        .iter()
        .any(|start| line.starts_with(start));
        if item {
            if documented && !says {
                found.push(format!("{}: {line}", index + 1));
            }
            (documented, says) = (false, false);
        } else if line.is_empty() || line.ends_with('}') || line.ends_with(';') {
            (documented, says) = (false, false);
        }
    }
    found
}

fn look(folder: &Path, wrong: &mut Vec<String>) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("a folder of the crate") {
        let path = entry.expect("its entry").path();
        if path.is_dir() {
            // The raw kernel.
            if !path.ends_with("sys") {
                files += look(&path, wrong);
            }
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source");
        files += 1;
        wrong.extend(
            silent(&source)
                .iter()
                .map(|item| format!("{}:{item}", path.display())),
        );
    }
    files
}

#[test]
fn every_public_item_of_nt_and_sync_says_its_irql() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for folder in ["nt", "sync"] {
        assert!(look(&source.join(folder), &mut wrong) > 5);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_item_without_the_section_is_found() {
    let source =
        "/// A.\npub fn a() {}\n\n/// B.\n///\n/// # IRQL\n/// Any.\n#[must_use]\npub fn b() {}\n";
    assert_eq!(silent(source), ["2: pub fn a() {}"]);
}
