// SPDX-License-Identifier: BSD-2-Clause
//! A store in memory with a daemon's rules, and with faults that no real one has.

use core::fmt;
use core::future::{Future, poll_fn};
use core::task::Poll;
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use crate::client::{
    Client, Counters, Error, Names, Place, Result, Transaction as Transacts, Watch as Watches,
};

/// What the store does wrong, at its 100th chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A write is acknowledged and forgotten.
    LosesWrite,
    /// A read gives another key's value.
    MixesUp,
    /// A value lacks its last letter.
    Tears,
    /// A commit takes effect although somebody was faster.
    MissesConflict,
    /// A list has a name twice, or lacks one.
    ListsTwice,
    ListsNotAll,
    /// A removed node stays.
    KeepsRemoved,
    /// A watch does not fire.
    ForgetsWatch,
    /// What must be refused is carried out.
    AllowsAll,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    value: Vec<u8>,
    changed: u64,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<String, Node>,
    time: u64,
    chances: u32,
    fired: BTreeMap<u64, (String, bool)>,
    transactions: usize,
}

/// The store.
#[derive(Clone)]
pub(crate) struct Store {
    state: Arc<Mutex<State>>,
    fault: Fault,
}

/// Lets others run first.
async fn turn() {
    let mut waited = false;
    poll_fn(|context| {
        if core::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Store {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            state: Arc::default(),
            fault,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("state")
    }

    /// True when the fault happens now.
    fn happens(&self, fault: Fault, state: &mut State) -> bool {
        if self.fault != fault {
            return false;
        }
        state.chances += 1;
        match fault {
            // One may do no harm: what was read anew may be what is not written.
            Fault::MissesConflict => state.chances >= 100,
            Fault::AllowsAll => true,
            _ => state.chances == 100,
        }
    }

    fn check(&self, path: &str, privileged: bool) -> Result {
        if self.fault == Fault::AllowsAll {
            return Ok(());
        }
        let good = |letter: char| letter.is_ascii_alphanumeric() || "-/_@".contains(letter);
        if path.is_empty() || path.len() > 2048 || path.contains("//") || !path.chars().all(good) {
            return Err(Error::Invalid);
        }
        match privileged && (path.starts_with("/local/domain/0") || path == "domid") {
            true => Err(Error::Denied),
            false => Ok(()),
        }
    }

    fn put(&self, path: &str, value: &[u8]) {
        let mut state = self.state();
        if self.happens(Fault::LosesWrite, &mut state) {
            return;
        }
        let state = &mut *state;
        state.time += 1;
        let changed = state.time;
        for (at, _) in path.match_indices('/') {
            let empty = Node {
                value: Vec::new(),
                changed,
            };
            state.nodes.entry(path[..at].to_string()).or_insert(empty);
        }
        let value = value.to_vec();
        state
            .nodes
            .insert(path.to_string(), Node { value, changed });
        for (watched, fired) in state.fired.values_mut() {
            if path == watched || path.starts_with(&format!("{watched}/")) {
                state.chances += u32::from(self.fault == Fault::ForgetsWatch);
                *fired |= self.fault != Fault::ForgetsWatch || state.chances != 100;
            }
        }
    }

    /// Every value, by path.
    pub(crate) fn values(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let nodes = state.nodes.iter();
        nodes
            .map(|(path, node)| (path.clone(), node.value.clone()))
            .collect()
    }
}

/// Names of children.
pub(crate) struct List(Vec<String>);

impl Names for List {
    fn each(&self, mut each: impl FnMut(&str)) {
        self.0.iter().for_each(|name| each(name));
    }
}

impl Client for Store {
    type Value = Vec<u8>;
    type Names = List;
    type Transaction = Transaction;
    type Watch = Watch;

    async fn read(&self, path: &str) -> Result<Vec<u8>> {
        turn().await;
        self.check(path, false)?;
        let mut state = self.state();
        let other = state
            .nodes
            .iter()
            .find(|(other, node)| *other != path && !node.value.is_empty());
        let other = other.map(|(_, node)| node.value.clone());
        let node = state.nodes.get(path).ok_or(Error::NotFound)?;
        let mut value = node.value.clone();
        if self.happens(Fault::MixesUp, &mut state) {
            return Ok(other.expect("another"));
        }
        if self.happens(Fault::Tears, &mut state) {
            value.pop();
        }
        Ok(value)
    }

    async fn write(&self, path: &str, value: &[u8]) -> Result {
        turn().await;
        self.check(path, true)?;
        if self.fault != Fault::AllowsAll && value.len() > 2048 {
            return Err(if value.len() > 4000 {
                Error::TooBig
            } else {
                Error::NoSpace
            });
        }
        if path.contains("/many/") && self.state().nodes.len() > 500 {
            return Err(Error::NoSpace);
        }
        self.put(path, value);
        Ok(())
    }

    async fn remove(&self, path: &str) -> Result {
        turn().await;
        self.check(path, true)?;
        let mut state = self.state();
        if !self.happens(Fault::KeepsRemoved, &mut state) {
            state.time += 1;
            let below = format!("{path}/");
            state
                .nodes
                .retain(|node, _| node != path && !node.starts_with(&below));
        }
        Ok(())
    }

    async fn directory(&self, path: &str) -> Result<List> {
        turn().await;
        self.check(path, false)?;
        let mut state = self.state();
        if !state.nodes.contains_key(path) {
            return Err(Error::NotFound);
        }
        let below = format!("{path}/");
        let names = state
            .nodes
            .keys()
            .filter_map(|node| node.strip_prefix(&below));
        let mut names: Vec<String> = names
            .filter(|name| !name.contains('/'))
            .map(String::from)
            .collect();
        if self.happens(Fault::ListsTwice, &mut state) {
            names.extend(names.first().cloned());
        }
        if self.happens(Fault::ListsNotAll, &mut state) {
            names.pop();
        }
        Ok(List(names))
    }

    async fn set_permissions(&self, path: &str, _owner: u16, _readable: bool) -> Result {
        turn().await;
        self.check(path, true)
    }

    async fn begin(&self) -> Result<Transaction> {
        turn().await;
        let mut state = self.state();
        if state.transactions == 10 && self.fault != Fault::AllowsAll {
            return Err(Error::NoSpace);
        }
        state.transactions += 1;
        Ok(Transaction {
            store: self.clone(),
            at: state.time,
            changes: Mutex::default(),
            seen: Mutex::default(),
        })
    }

    async fn watch(&self, path: &str) -> Result<Watch> {
        turn().await;
        let mut state = self.state();
        if state.fired.len() == 20 && self.fault != Fault::AllowsAll {
            return Err(Error::TooBig);
        }
        state.time += 1;
        let id = state.time;
        state.fired.insert(id, (path.to_string(), true));
        Ok(Watch {
            store: self.clone(),
            id,
        })
    }
}

/// A transaction: what it read must be older than its start when it is committed.
pub(crate) struct Transaction {
    store: Store,
    at: u64,
    changes: Mutex<Vec<(String, Vec<u8>)>>,
    seen: Mutex<Vec<String>>,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.store.state().transactions -= 1;
    }
}

impl Transacts for Transaction {
    type Value = Vec<u8>;

    async fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.seen.lock().expect("seen").push(path.to_string());
        let read = self.store.read(path).await;
        let changes = self.changes.lock().expect("changes");
        match changes.iter().rfind(|(changed, _)| changed == path) {
            Some((_, value)) => Ok(value.clone()),
            None => read,
        }
    }

    async fn write(&self, path: &str, value: &[u8]) -> Result {
        turn().await;
        let mut changes = self.changes.lock().expect("changes");
        changes.push((path.to_string(), value.to_vec()));
        Ok(())
    }

    async fn end(self, commit: bool) -> Result {
        turn().await;
        if !commit {
            return Ok(());
        }
        let mut state = self.store.state();
        let newer = |path: &String| {
            let node = state.nodes.get(path);
            node.is_some_and(|node| node.changed > self.at)
        };
        let conflict = self.seen.lock().expect("seen").iter().any(newer);
        if conflict && !self.store.happens(Fault::MissesConflict, &mut state) {
            return Err(Error::Again);
        }
        drop(state);
        for (path, value) in self.changes.lock().expect("changes").iter() {
            self.store.put(path, value);
        }
        Ok(())
    }
}

/// A watch.
pub(crate) struct Watch {
    store: Store,
    id: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.store.state().fired.remove(&self.id);
    }
}

impl Watches for Watch {
    async fn changed(&mut self, _limit: u32) -> Result {
        turn().await;
        let mut state = self.store.state();
        match state.fired.get_mut(&self.id) {
            Some((_, fired)) if *fired => {
                *fired = false;
                Ok(())
            }
            _ => Err(Error::TimedOut),
        }
    }
}

/// A place that keeps its lines, and whose clock ticks when it is read.
#[derive(Default)]
pub(crate) struct Desk {
    lines: Mutex<Vec<String>>,
    now: Mutex<u64>,
    /// What a look at the counters takes, beside its tick.
    look: u64,
}

impl Desk {
    pub(crate) fn with_dear_counters(look: u64) -> Self {
        Self {
            look,
            ..Self::default()
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("lines").clone()
    }
}

impl Place for Desk {
    fn name(&self) -> &str {
        "fake"
    }

    fn now(&self) -> u64 {
        let mut now = self.now.lock().expect("now");
        *now += 1;
        *now
    }

    fn ticks_per_second(&self) -> u64 {
        1000
    }

    fn counters(&self) -> Counters {
        *self.now.lock().expect("now") += self.look;
        Counters {
            busy: Some(self.now()),
            ..Counters::default()
        }
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        self.lines.lock().expect("lines").push(line.to_string());
    }
}

/// Runs futures side by side on this thread.
pub(crate) fn together<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    futures_executor::block_on(futures_util::future::join_all(futures));
}
