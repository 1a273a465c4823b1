// SPDX-License-Identifier: BSD-2-Clause
//! A small xenstored in a thread: what runs need of one, and faults that runs must find.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use super::check::{Node, Tree};
use crate::wire::tests::message;
use crate::wire::{ERROR, WATCH_EVENT};

/// What is wrong with the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A write is answered, and not done.
    LosesWrite,
    /// A value that nobody wrote.
    InventsValue,
    /// A watch that does not fire for a change.
    ForgetsWatch,
    /// A commit over somebody else's is not refused.
    MissesConflict,
    /// It closes the connection.
    Dies,
}

/// How many requests a daemon serves well before its fault shows.
const GOOD: u32 = 300;

struct Open {
    tree: BTreeMap<String, Node>,
    /// The serial number at its start.
    since: u32,
    touched: Vec<String>,
    written: Vec<String>,
}

struct Daemon {
    stream: UnixStream,
    fault: Fault,
    served: u32,
    tree: BTreeMap<String, Node>,
    /// When each path changed last.
    changes: BTreeMap<String, u32>,
    serial: u32,
    open: BTreeMap<u32, Open>,
    watches: Vec<(String, String)>,
}

/// Starts one over an empty store; joined after the connection is closed, it gives what is in the store.
pub(crate) fn start(fault: Fault) -> (UnixStream, JoinHandle<Tree>) {
    let (near, stream) = UnixStream::pair().expect("pair");
    let mut daemon = Daemon {
        stream,
        fault,
        served: 0,
        tree: BTreeMap::new(),
        changes: BTreeMap::new(),
        serial: 0,
        open: BTreeMap::new(),
        watches: Vec::new(),
    };
    let thread = thread::spawn(move || {
        while daemon.serve().is_some() {}
        Tree(daemon.tree)
    });
    (near, thread)
}

type Answer = Result<Vec<u8>, &'static str>;

fn ok() -> Answer {
    Ok(b"OK\0".to_vec())
}

fn legal(path: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-/_@".contains(c);
    (1..2000).contains(&path.len()) && path.chars().all(good) && !path.contains("//")
}

fn is_below(path: &str, top: &str) -> bool {
    let rest = path.strip_prefix(top);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Daemon {
    /// Serves one request; `None` at the end of the connection.
    fn serve(&mut self) -> Option<()> {
        let mut header = [0; 16];
        self.stream.read_exact(&mut header).ok()?;
        let (words, _) = header.as_chunks::<4>();
        let [kind, id, transaction, len] = std::array::from_fn(|n| u32::from_le_bytes(words[n]));
        let mut payload = vec![0; len as usize];
        self.stream.read_exact(&mut payload).ok()?;
        self.served += 1;
        if self.fault == Fault::Dies && self.bad() {
            return None;
        }
        let (text, rest) = payload.split_at(payload.iter().position(|b| *b == 0)?);
        let text = std::str::from_utf8(text).ok()?.to_owned();
        let answer = self.carry_out(kind, transaction, &text, &rest[1..]);
        let answer = match answer {
            Ok(payload) => message(kind, id, &payload),
            Err(name) => message(ERROR, id, format!("{name}\0").as_bytes()),
        };
        self.stream.write_all(&answer).ok()?;
        if kind == 4 {
            self.fire(&text, true);
        }
        Some(())
    }

    fn bad(&self) -> bool {
        self.served > GOOD
    }

    /// The store that a request sees.
    fn view(&mut self, transaction: u32, path: &str) -> &mut BTreeMap<String, Node> {
        match self.open.get_mut(&transaction) {
            None => &mut self.tree,
            Some(open) => {
                open.touched.push(path.to_owned());
                &mut open.tree
            }
        }
    }

    fn carry_out(&mut self, kind: u32, transaction: u32, text: &str, rest: &[u8]) -> Answer {
        let is_path = !matches!(kind, 6 | 7);
        if is_path && !legal(text) {
            return Err("EINVAL");
        }
        match kind {
            1 => {
                let view = self.view(transaction, text);
                view.get(text).ok_or("ENOENT")?;
                let top = format!("{text}/");
                let names = view.keys().filter_map(|path| path.strip_prefix(&top));
                let names: Vec<&str> = names.filter(|name| !name.contains('/')).collect();
                Ok(names
                    .iter()
                    .flat_map(|name| [name.as_bytes(), b"\0"].concat())
                    .collect())
            }
            2 => {
                let invents = self.fault == Fault::InventsValue && self.bad();
                let node = self.view(transaction, text).get(text).ok_or("ENOENT")?;
                match invents {
                    true => Ok([&node.value, b"!".as_slice()].concat()),
                    false => Ok(node.value.clone()),
                }
            }
            4 => {
                let token = rest.strip_suffix(b"\0").ok_or("EINVAL")?;
                let token = String::from_utf8_lossy(token).into_owned();
                self.watches.push((text.to_owned(), token));
                ok()
            }
            5 => {
                let token = rest.strip_suffix(b"\0").ok_or("EINVAL")?;
                let count = self.watches.len();
                self.watches
                    .retain(|(path, t)| path != text || t.as_bytes() != token);
                if self.watches.len() == count {
                    Err("ENOENT")
                } else {
                    ok()
                }
            }
            6 => {
                self.serial += 1;
                let open = Open {
                    tree: self.tree.clone(),
                    since: self.serial,
                    touched: Vec::new(),
                    written: Vec::new(),
                };
                self.open.insert(self.serial, open);
                Ok(format!("{}\0", self.serial).into_bytes())
            }
            7 => self.end(transaction, text == "T"),
            11 => {
                if self.fault == Fault::LosesWrite && self.bad() {
                    return ok();
                }
                let mut made = Vec::new();
                let view = self.view(transaction, text);
                for (at, _) in text.match_indices('/').filter(|(at, _)| *at > 0) {
                    made.push(text[..at].to_owned());
                }
                made.push(text.to_owned());
                let mut permissions = vec!["n0".to_owned()];
                for path in made {
                    let node = view.entry(path).or_insert_with(|| Node {
                        value: Vec::new(),
                        permissions: permissions.clone(),
                    });
                    permissions.clone_from(&node.permissions);
                }
                view.get_mut(text).ok_or("EIO")?.value = rest.to_vec();
                self.changed(transaction, text);
                ok()
            }
            13 => {
                let view = self.view(transaction, text);
                view.get(text).ok_or("ENOENT")?;
                view.retain(|path, _| !is_below(path, text));
                self.changed(transaction, text);
                ok()
            }
            14 => {
                let permissions = rest.split(|b| *b == 0).filter(|perm| !perm.is_empty());
                let permissions = permissions
                    .map(|p| String::from_utf8_lossy(p).into())
                    .collect();
                let node = self.view(transaction, text).get_mut(text).ok_or("ENOENT")?;
                node.permissions = permissions;
                self.changed(transaction, text);
                ok()
            }
            _ => Err("ENOSYS"),
        }
    }

    fn changed(&mut self, transaction: u32, path: &str) {
        if let Some(open) = self.open.get_mut(&transaction) {
            open.written.push(path.to_owned());
            return;
        }
        self.serial += 1;
        self.changes.insert(path.to_owned(), self.serial);
        self.fire(path, false);
    }

    fn end(&mut self, transaction: u32, commit: bool) -> Answer {
        let open = self.open.remove(&transaction).ok_or("ENOENT")?;
        if !commit {
            return ok();
        }
        let late = |path: &String| self.changes.get(path).is_some_and(|at| *at > open.since);
        let misses = self.fault == Fault::MissesConflict && self.bad();
        if open.touched.iter().any(late) && !misses {
            return Err("EAGAIN");
        }
        for path in open.written {
            // What transactions here do: write nodes.
            for (at, node) in &open.tree {
                if is_below(&path, at) && (!self.tree.contains_key(at) || *at == path) {
                    self.tree.insert(at.clone(), node.clone());
                }
            }
            self.changed(0, &path);
        }
        ok()
    }

    fn fire(&mut self, path: &str, first: bool) {
        if self.fault == Fault::ForgetsWatch && self.bad() {
            return;
        }
        let last = self.watches.len().saturating_sub(1);
        for (n, (top, token)) in self.watches.iter().enumerate() {
            let fires = if first {
                n == last
            } else {
                is_below(path, top)
            };
            if fires {
                let event = message(WATCH_EVENT, 0, format!("{path}\0{token}\0").as_bytes());
                // Gone, it asks for nothing more.
                let _ = self.stream.write_all(&event);
            }
        }
    }
}
