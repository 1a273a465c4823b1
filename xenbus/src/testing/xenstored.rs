// SPDX-License-Identifier: BSD-2-Clause
//! A xenstored in miniature, for host tests: a tree, transactions with conflicts, watches.
//!
//! It serves one page, one whole request per call at most, and does what a test scripts: keep
//! replies back, answer in another order, write any bytes, stop. Written from the protocol text.

use std::collections::{BTreeMap, VecDeque};
use std::string::{String, ToString};
use std::vec::Vec;

use super::page::{DaemonSide, TestPage};
use crate::store::wire::{self, HEADER_LEN, Header, Kind, PAYLOAD_MAX};

/// The domain's own path.
pub const HOME: &str = "/local/domain/1";

struct Open {
    snapshot: BTreeMap<String, Vec<u8>>,
    touched: Vec<String>,
    generation: u64,
}

/// The daemon.
#[derive(Default)]
pub struct Xenstored {
    nodes: BTreeMap<String, Vec<u8>>,
    changed: BTreeMap<String, u64>,
    generation: u64,
    open: BTreeMap<u32, Open>,
    next_tx: u32,
    /// (absolute path, path as registered, token).
    watches: Vec<(String, Vec<u8>, Vec<u8>)>,
    input: Vec<u8>,
    output: VecDeque<u8>,
    /// Replies kept back while true.
    pub hold: bool,
    /// Neither reads nor writes while true: a daemon that was killed.
    pub dead: bool,
    /// Every watch is over quota.
    pub refuse_watches: bool,
    /// Has no DIRECTORY_PART, as daemons of old.
    pub no_parts: bool,
    /// Whole requests answered in one call of `serve`, at most; 0: no limit.
    pub per_serve: usize,
    permissions: BTreeMap<String, Vec<u8>>,
    /// Whole replies that `hold` kept back.
    pub held: Vec<Vec<u8>>,
    /// Every request seen, oldest first.
    pub seen: Vec<Header>,
}

fn split(payload: &[u8]) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = payload.split(|&b| b == 0).collect();
    if parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    parts
}

/// One part of a directory: as many whole names as fit, the extra NUL with the last of them.
#[must_use]
pub fn part(generation: u64, names: &[u8], offset: usize) -> Vec<u8> {
    let mut out = std::format!("{generation}\0").into_bytes();
    let rest = &names[offset.min(names.len())..];
    let mut len = rest.len().min(PAYLOAD_MAX - out.len() - 1);
    while len > 0 && rest[len - 1] != 0 {
        len -= 1;
    }
    out.extend_from_slice(&rest[..len]);
    if len == rest.len() {
        out.push(0);
    }
    out
}

/// A message as it travels.
#[must_use]
pub fn message(kind: Kind, req_id: u32, tx_id: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        req_id,
        tx_id,
        len: payload.len() as u32,
    };
    [&header.to_bytes()[..], payload].concat()
}

impl Xenstored {
    /// A daemon with these nodes.
    #[must_use]
    pub fn with(nodes: &[(&str, &str)]) -> Self {
        let mut daemon = Self {
            next_tx: 1,
            ..Self::default()
        };
        for (path, value) in nodes {
            daemon.put(path, value);
        }
        daemon
    }

    fn absolute(path: &[u8]) -> String {
        let path = String::from_utf8_lossy(path);
        if path.starts_with('/') || path.starts_with('@') {
            path.to_string()
        } else {
            std::format!("{HOME}/{path}")
        }
    }

    /// Writes as another client would: watches fire, transactions conflict.
    pub fn put(&mut self, path: &str, value: &str) {
        let path = Self::absolute(path.as_bytes());
        self.nodes.insert(path.clone(), value.as_bytes().to_vec());
        self.touch(&path);
    }

    /// Removes a subtree as another client would.
    pub fn delete(&mut self, path: &str) {
        let path = Self::absolute(path.as_bytes());
        self.nodes
            .retain(|node, _| node != &path && !node.starts_with(&std::format!("{path}/")));
        self.touch(&path);
    }

    /// The value of a node.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<String> {
        let value = self.nodes.get(&Self::absolute(path.as_bytes()))?;
        Some(String::from_utf8_lossy(value).to_string())
    }

    /// Transactions that are open.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.open.len()
    }

    /// Watches that are registered.
    #[must_use]
    pub fn watch_count(&self) -> usize {
        self.watches.len()
    }

    fn touch(&mut self, path: &str) {
        self.generation += 1;
        self.changed.insert(path.to_string(), self.generation);
        let events: Vec<Vec<u8>> = self
            .watches
            .iter()
            .filter(|(node, ..)| path == node || path.starts_with(&std::format!("{node}/")))
            .map(|(_, given, token)| {
                let payload = [&given[..], b"\0", token, b"\0"].concat();
                message(Kind::WATCH_EVENT, 0, 0, &payload)
            })
            .collect();
        for event in events {
            self.output.extend(event);
        }
    }

    /// Puts any bytes into the response stream.
    pub fn say(&mut self, bytes: &[u8]) {
        self.output.extend(bytes);
    }

    /// Lets the replies go that were kept back, last first when `reverse`.
    pub fn release(&mut self, reverse: bool) {
        let mut held = core::mem::take(&mut self.held);
        if reverse {
            held.reverse();
        }
        for reply in held {
            self.output.extend(reply);
        }
    }

    /// Reads what is there, answers whole requests, writes what fits. True when anything moved.
    pub fn serve(&mut self, page: &TestPage) -> bool {
        if self.dead {
            return false;
        }
        let side = DaemonSide(page);
        let read = side.take_requests(usize::MAX);
        let mut moved = !read.is_empty();
        self.input.extend(read);
        let mut answered = 0;
        while let Some(header) = self.input.first_chunk::<HEADER_LEN>() {
            if self.per_serve != 0 && answered == self.per_serve {
                break;
            }
            let header = Header::from_bytes(header);
            let end = HEADER_LEN + header.len as usize;
            if self.input.len() < end {
                break;
            }
            let payload: Vec<u8> = self.input.drain(..end).skip(HEADER_LEN).collect();
            answered += 1;
            moved = true;
            self.seen.push(header);
            let (kind, body) = match self.answer(header, &payload) {
                Ok(body) => (header.kind, body),
                Err(name) => (Kind::ERROR, std::format!("{name}\0").into_bytes()),
            };
            let reply = message(kind, header.req_id, header.tx_id, &body);
            if self.hold {
                self.held.push(reply);
            } else {
                self.output.extend(reply);
            }
            if header.kind == Kind::WATCH && kind == Kind::WATCH {
                self.output
                    .extend(message(Kind::WATCH_EVENT, 0, 0, &payload));
            }
        }
        let room = side.response_room().min(self.output.len());
        let out: Vec<u8> = self.output.drain(..room).collect();
        moved |= !out.is_empty();
        side.put_responses(&out);
        moved
    }

    fn answer(&mut self, header: Header, payload: &[u8]) -> Result<Vec<u8>, &'static str> {
        let parts = split(payload);
        let path = Self::absolute(parts.first().copied().unwrap_or_default());
        let tx = header.tx_id;
        if tx != 0 && !self.open.contains_key(&tx) {
            return Err("ENOENT");
        }
        if let Some(open) = self.open.get_mut(&tx) {
            open.touched.push(path.clone());
        }
        let ok = b"OK\0".to_vec();
        match header.kind {
            Kind::READ => self.view(tx).get(&path).cloned().ok_or("ENOENT"),
            Kind::DIRECTORY => self
                .directory(tx, &path)
                .and_then(|names| (names.len() <= PAYLOAD_MAX).then_some(names).ok_or("E2BIG")),
            Kind::DIRECTORY_PART if self.no_parts => Err("ENOSYS"),
            Kind::DIRECTORY_PART => {
                let offset = parts.get(1).and_then(|text| wire::parse_u32(text));
                let offset = offset.ok_or("EINVAL")? as usize;
                let names = self.directory(tx, &path)?;
                Ok(part(self.generation, &names, offset))
            }
            Kind::GET_PERMS if !self.view(tx).contains_key(&path) => Err("ENOENT"),
            Kind::GET_PERMS => {
                let set = self.permissions.get(&path).cloned();
                Ok(set.unwrap_or_else(|| b"n1\0".to_vec()))
            }
            Kind::SET_PERMS if parts.len() < 2 => Err("EINVAL"),
            Kind::SET_PERMS if !self.view(tx).contains_key(&path) => Err("ENOENT"),
            Kind::SET_PERMS => {
                let at = parts[0].len() + 1;
                self.permissions.insert(path, payload[at..].to_vec());
                Ok(ok)
            }
            Kind::WRITE => {
                let at = payload.iter().position(|&b| b == 0).ok_or("EINVAL")?;
                self.view_mut(tx)
                    .insert(path.clone(), payload[at + 1..].to_vec());
                if tx == 0 {
                    self.touch(&path);
                }
                Ok(ok)
            }
            Kind::RM => {
                let below = std::format!("{path}/");
                self.view_mut(tx)
                    .retain(|node, _| node != &path && !node.starts_with(&below));
                if tx == 0 {
                    self.touch(&path);
                }
                Ok(ok)
            }
            Kind::TRANSACTION_START => {
                let id = self.next_tx;
                self.next_tx += 1;
                self.open.insert(
                    id,
                    Open {
                        snapshot: self.nodes.clone(),
                        touched: Vec::new(),
                        generation: self.generation,
                    },
                );
                Ok(std::format!("{id}\0").into_bytes())
            }
            Kind::TRANSACTION_END => self.end(tx, payload).map(|()| ok),
            Kind::WATCH if self.refuse_watches => Err("EQUOTA"),
            Kind::WATCH => {
                let token = parts.get(1).ok_or("EINVAL")?.to_vec();
                if self
                    .watches
                    .iter()
                    .any(|(p, _, t)| *p == path && *t == token)
                {
                    return Err("EEXIST");
                }
                self.watches.push((path, parts[0].to_vec(), token));
                Ok(ok)
            }
            Kind::UNWATCH => {
                let token = *parts.get(1).ok_or("EINVAL")?;
                let at = self
                    .watches
                    .iter()
                    .position(|(p, _, t)| *p == path && t == token)
                    .ok_or("ENOENT")?;
                self.watches.remove(at);
                Ok(ok)
            }
            Kind::RESET_WATCHES => {
                self.watches.clear();
                self.open.clear();
                Ok(ok)
            }
            _ => Err("ENOSYS"),
        }
    }

    fn view(&self, tx: u32) -> &BTreeMap<String, Vec<u8>> {
        self.open
            .get(&tx)
            .map_or(&self.nodes, |open| &open.snapshot)
    }

    fn view_mut(&mut self, tx: u32) -> &mut BTreeMap<String, Vec<u8>> {
        match self.open.get_mut(&tx) {
            Some(open) => &mut open.snapshot,
            None => &mut self.nodes,
        }
    }

    fn directory(&self, tx: u32, path: &str) -> Result<Vec<u8>, &'static str> {
        let below = std::format!("{path}/");
        let mut names = Vec::<&str>::new();
        let mut exists = false;
        for node in self.view(tx).keys() {
            exists |= node == path;
            if let Some(rest) = node.strip_prefix(&below) {
                exists = true;
                let name = rest.split('/').next().unwrap_or_default();
                if names.last() != Some(&name) {
                    names.push(name);
                }
            }
        }
        if !exists {
            return Err("ENOENT");
        }
        Ok(names.iter().flat_map(|n| n.bytes().chain([0])).collect())
    }

    fn end(&mut self, tx: u32, payload: &[u8]) -> Result<(), &'static str> {
        let open = self.open.remove(&tx).ok_or("ENOENT")?;
        if payload != b"T\0" {
            return Ok(());
        }
        let conflict = open.touched.iter().any(|path| {
            self.changed
                .get(path)
                .is_some_and(|&at| at > open.generation)
        });
        if conflict {
            return Err("EAGAIN");
        }
        self.nodes = open.snapshot;
        for path in open.touched {
            self.touch(&path);
        }
        Ok(())
    }
}
