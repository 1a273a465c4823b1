// SPDX-License-Identifier: BSD-2-Clause
//! Lists of children, however long: one message has room for 4096 bytes, and what is longer comes in parts.

use crate::mux::Mux;
use crate::wire::{Answer, Op, Refused};

/// How often a list may change while it is read in parts.
const TRIES: u32 = 100;

/// The names of a node's children.
pub(crate) async fn list(mux: &Mux, path: &str) -> Answer<Vec<String>> {
    let path = path.as_bytes();
    match mux.call(Op::Directory, 0, &[path, b"\0"]).await {
        Err(Refused::Name(name)) if name == "E2BIG" => {}
        whole => return whole.map(|whole| names(&whole)),
    }
    for _ in 0..TRIES {
        if let Some(whole) = parts(mux, path).await? {
            return Ok(names(&whole));
        }
    }
    let path = String::from_utf8_lossy(path);
    Err(Refused::Broken(format!(
        "the children of {path} changed at each of {TRIES} tries to list them"
    )))
}

fn names(list: &[u8]) -> Vec<String> {
    list.split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// The whole list, or `None` if it changed between two parts.
async fn parts(mux: &Mux, path: &[u8]) -> Answer<Option<Vec<u8>>> {
    let bad = |why: &str| Refused::Broken(format!("a part of a directory {why}"));
    let mut whole = Vec::new();
    let mut generation = None;
    loop {
        let offset = whole.len().to_string();
        let request = [path, b"\0", offset.as_bytes(), b"\0"];
        let answer = mux.call(Op::DirectoryPart, 0, &request).await?;
        let end = answer.iter().position(|byte| *byte == 0);
        let (now, part) = answer.split_at(end.ok_or_else(|| bad("without a generation"))?);
        if generation.get_or_insert_with(|| now.to_vec()) != now {
            return Ok(None);
        }
        // The last one ends with one more NUL.
        match &part[1..] {
            [rest @ .., 0] if rest.is_empty() || rest.ends_with(b"\0") => {
                whole.extend(rest);
                return Ok(Some(whole));
            }
            some if some.ends_with(b"\0") => whole.extend(some),
            _ => return Err(bad("that ends in a name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ERROR;
    use crate::wire::tests::{message, scripted};

    /// The list that a daemon's answers give, all but the first to requests for parts.
    fn listed(answers: &[&[u8]]) -> (Answer<Vec<String>>, Vec<String>) {
        let mut script = vec![message(ERROR, 1, b"E2BIG\0")];
        for (n, answer) in answers.iter().enumerate() {
            script.push(message(Op::DirectoryPart as u32, n as u32 + 2, answer));
        }
        let (stream, daemon) = scripted(script);
        let mux = Mux::over(stream).expect("mux");
        let answer = mux.run(list(&mux, "/a"));
        drop(mux);
        let requests = daemon.join().expect("daemon");
        let offsets = requests[1..].iter();
        let offsets = offsets.map(|r| String::from_utf8_lossy(&r[3..r.len() - 1]).into_owned());
        (answer, offsets.collect())
    }

    #[test]
    fn a_long_list_is_put_together_from_its_parts() {
        let (names, offsets) = listed(&[b"7\0a\0bc\0", b"7\0d\0\0"]);
        assert_eq!(names, Ok(vec!["a".into(), "bc".into(), "d".into()]));
        assert_eq!(offsets, ["0", "5"]);
    }

    #[test]
    fn a_list_that_changes_between_its_parts_is_read_again() {
        let (names, offsets) = listed(&[b"7\0a\0", b"8\0x\0", b"8\0b\0", b"8\0\0"]);
        assert_eq!(names, Ok(vec!["b".into()]));
        assert_eq!(offsets, ["0", "2", "0", "2"]);
    }

    #[test]
    fn a_part_that_is_none_is_an_error() {
        for bad in [b"7".as_slice(), b"", b"7\0", b"7\0a"] {
            let (names, _) = listed(&[bad]);
            assert!(
                matches!(names, Err(Refused::Broken(_))),
                "{bad:?}: {names:?}"
            );
        }
    }
}
