// SPDX-License-Identifier: BSD-2-Clause
//! The mutants of `kexec/mutants/*.mutants`.
//!
//! ```text
//! # a comment
//! == name-of-the-mutant
//! kill loom path::of::the::test
//! file src/exec/queue.rs
//! <<<<
//! text as it is in the file, found once, whatever its white space
//! ====
//! text instead
//! >>>>
//! ```
//!
//! `kill` names the build (`loom`, `shuttle`, `unit` for the library's tests, or the name of an integration test) and the test.
//! A mutant may have more than one edit, each after a `file` line.

use std::fs;

use anyhow::{Context, Result, bail};

use super::scratch::Build;
use crate::util;

/// A test and the build in which it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    pub(super) build: Build,
    pub(super) name: String,
}

/// One replacement in one file.
#[derive(Debug)]
pub(super) struct Edit {
    /// Relative to kexec's folder.
    pub(super) file: String,
    find: String,
    replace: String,
}

/// One mutant.
#[derive(Debug)]
pub(super) struct Mutant {
    pub(super) name: String,
    pub(super) test: Test,
    pub(super) edits: Vec<Edit>,
}

/// All mutants, each of which applies to the working tree.
///
/// # Errors
///
/// A file is malformed, or an edit does not apply.
pub(super) fn load() -> Result<Vec<Mutant>> {
    let folder = util::root().join("kexec/mutants");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .collect::<std::io::Result<_>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut mutants = Vec::new();
    for file in files {
        let text = fs::read_to_string(file.path())?;
        mutants.extend(parse(&text).with_context(|| file.path().display().to_string())?);
    }
    for (index, mutant) in mutants.iter().enumerate() {
        if mutants[..index]
            .iter()
            .any(|other| other.name == mutant.name)
        {
            bail!("two mutants have the name {}", mutant.name);
        }
        for edit in &mutant.edits {
            let text = fs::read_to_string(util::root().join("kexec").join(&edit.file))?;
            edit.apply(&text)
                .with_context(|| format!("mutant {}: {}", mutant.name, edit.file))?;
        }
    }
    Ok(mutants)
}

fn parse(text: &str) -> Result<Vec<Mutant>> {
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "==" {
            let test = lines.next().and_then(|line| line.strip_prefix("kill "));
            let Some((build, test)) = test.and_then(|test| test.split_once(' ')) else {
                bail!("{rest}: a mutant begins with `kill BUILD TEST`");
            };
            let test = Test {
                build: Build::named(build),
                name: test.to_owned(),
            };
            mutants.push(Mutant {
                name: rest.to_owned(),
                test,
                edits: Vec::new(),
            });
            continue;
        }
        let Some(mutant) = mutants.last_mut().filter(|_| word == "file") else {
            bail!("unexpected line: {line}");
        };
        let mut part = |from: Option<&str>, to: &str| -> Result<String> {
            if let Some(from) = from
                && lines.next() != Some(from)
            {
                bail!("{}: {from} expected", mutant.name);
            }
            let part: Vec<_> = lines.by_ref().take_while(|line| *line != to).collect();
            Ok(part.join("\n"))
        };
        let find = part(Some("<<<<"), "====")?;
        let replace = part(None, ">>>>")?;
        mutant.edits.push(Edit {
            file: rest.to_owned(),
            find,
            replace,
        });
    }
    match mutants.iter().find(|mutant| mutant.edits.is_empty()) {
        Some(mutant) => bail!("{}: no edit", mutant.name),
        None => Ok(mutants),
    }
}

impl Edit {
    /// `text` with the edit made.
    ///
    /// # Errors
    ///
    /// What is looked for is not there exactly once.
    pub(super) fn apply(&self, text: &str) -> Result<String> {
        // Without white space, so that rustfmt may break lines elsewhere; with the place of each byte that is left.
        let solid = |text: &str| -> (String, Vec<usize>) {
            let (mut all, mut places) = (String::new(), Vec::new());
            for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
                all.push(c);
                places.resize(all.len(), at);
            }
            (all, places)
        };
        let ((all, places), (find, _)) = (solid(text), solid(&self.find));
        let mut found = all.match_indices(&find);
        let (Some((at, _)), None) = (found.next().filter(|_| !find.is_empty()), found.next())
        else {
            let count = all.matches(&find).count();
            bail!("found {count} times, not once:\n{}", self.find);
        };
        let (begin, last) = (places[at], places[at + find.len() - 1]);
        let end = last + text[last..].chars().next().map_or(0, char::len_utf8);
        Ok(format!(
            "{}{}{}",
            &text[..begin],
            self.replace,
            &text[end..]
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_applies_and_is_named_in_the_doc_of_its_model() {
        let mutants = load().expect("mutants");
        assert!(mutants.len() >= 30, "{}", mutants.len());
        for mutant in &mutants {
            let (Build::Loom, Some(name)) =
                (&mutant.test.build, mutant.test.name.rsplit("::").next())
            else {
                continue;
            };
            let folder = util::root().join("kexec/src");
            let models = ["exec/loom_models.rs", "exec/loom_timers.rs", "sync/bits.rs"]
                .map(|file| fs::read_to_string(folder.join(file)).expect("models"));
            let end = format!("fn {name}(");
            let model = models.iter().find_map(|text| text.split_once(&end));
            let (before, _) = model.unwrap_or_else(|| panic!("{name} does not exist"));
            let doc = before.rsplit("\n\n").next().expect("a part");
            let quoted = format!("`{}`", mutant.name);
            assert!(doc.contains(&quoted), "{name} does not list {quoted}");
        }
    }

    #[test]
    fn an_edit_is_found_whatever_its_white_space_and_only_once() {
        let edit = |find: &str| Edit {
            file: String::new(),
            find: find.to_owned(),
            replace: "é".to_owned(),
        };
        let text = "a(b,\n    ü)\nc c";
        assert_eq!(edit("( b, ü )").apply(text).expect("once"), "aé\nc c");
        assert!(edit("c").apply(text).is_err(), "twice");
        assert!(edit("d").apply(text).is_err(), "never");
    }

    #[test]
    fn a_malformed_list_is_an_error() {
        for text in [
            "x",
            "== a",
            "== a\nkill loom t",
            "== a\nkill loom t\nfile f\nx",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
