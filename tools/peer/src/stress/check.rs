// SPDX-License-Identifier: BSD-2-Clause
//! Compares what the store holds after a run with the run's model: every value, every node's permissions, and nothing else.

use std::collections::BTreeMap;

use workload::{ACCOUNTS, Key, Permissions, Role, TOTAL, Workload, expected, model_keys};

use crate::store::Store;
use crate::wire::Answer;
use crate::{Failure, Result};

/// Keys of each worker, as its model lines have them.
#[derive(Debug)]
pub(crate) struct Model(BTreeMap<(u32, u32), Key>);

impl Model {
    /// Reads the model lines of the run out of a log that may have other lines.
    ///
    /// # Errors
    /// Names a line that is none, or a worker whose keys are missing.
    pub(crate) fn parse(workload: &Workload, log: &str) -> Result<Self> {
        let mut model = BTreeMap::new();
        for line in log.lines() {
            let Some((_, words)) = line.split_once("RESULT stress.model ") else {
                continue;
            };
            let bad = || Failure::new(format!("not a model line: {line}"));
            let word = |name: &str| {
                let mut words = words.split_whitespace();
                let word = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
                word.ok_or_else(bad)
            };
            let number = |name| word(name)?.parse::<u32>().map_err(|_| bad());
            if number("id")? != workload.id {
                continue;
            }
            let (worker, first) = (number("worker")?, number("first")?);
            for (key, state) in (first..).zip(model_keys(word("keys")?)) {
                model.insert((worker, key), state.ok_or_else(bad)?);
            }
        }
        for worker in 0..workload.workers() {
            for key in 0..workload.keys_of(worker) {
                if !model.contains_key(&(worker, key)) {
                    let id = workload.id;
                    return Err(Failure::new(format!(
                        "the log says nothing about key {key} of worker {worker} of run {id}"
                    )));
                }
            }
        }
        Ok(Self(model))
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) value: Vec<u8>,
    /// In xenstore's form, the owner's first.
    pub(crate) permissions: Vec<String>,
}

/// All nodes below a run's directory, and the accounts, by their paths.
#[derive(Debug, Default)]
pub(crate) struct Tree(pub(crate) BTreeMap<String, Node>);

impl Tree {
    /// Reads it out of the store.
    ///
    /// # Errors
    /// What xenstored said.
    pub(crate) fn read(store: &mut Store, workload: &Workload) -> Result<Self> {
        let mut tree = Self::default();
        let mut open = vec![workload.root().to_owned()];
        for account in 0..ACCOUNTS {
            let path = workload.account(account);
            if let Some(node) = node(store, &path)? {
                tree.0.insert(path.to_string(), node);
            }
        }
        while let Some(path) = open.pop() {
            let Some(node) = node(store, &path)? else {
                continue;
            };
            for name in store.list(&path)? {
                open.push(format!("{path}/{name}"));
            }
            tree.0.insert(path, node);
        }
        Ok(tree)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The node at `path` if there is one.
fn node(store: &mut Store, path: &str) -> Answer<Option<Node>> {
    let value = match store.read(0, path) {
        Err(refused) if refused.is_missing() => return Ok(None),
        value => value?,
    };
    let permissions = store.perms(path)?;
    Ok(Some(Node { value, permissions }))
}

/// What is wrong with the tree, a line each.
pub(crate) fn compare(workload: &Workload, model: &Model, tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut rest = tree.0.clone();
    let mut directories = vec![workload.root().to_owned()];
    for worker in 0..workload.workers() {
        let home = workload.home(worker).to_string();
        match workload.role(worker) {
            Role::Keys => directories.push(home),
            Role::Hostile => {
                // Its last write.
                let own = format!("{home}/own");
                if rest.remove(&own).is_none_or(|node| node.value != b"2") {
                    wrong.push(format!("wrong: {own} is not 2"));
                }
                directories.push(home);
            }
            Role::Accounts | Role::Watches => {}
        }
    }
    for ((worker, key), state) in &model.0 {
        let path = workload.key(*worker, *key).to_string();
        let value = expected(workload.seed, workload.size, *worker, *key, state.version);
        let node = rest.remove(&path);
        match (state.present, node) {
            (false, None) => {}
            (false, Some(_)) => wrong.push(format!("extra: {path} was removed")),
            (true, None) => wrong.push(format!("missing: {path} (version {state})")),
            (true, Some(node)) => {
                if *node.value != *value {
                    let found = String::from_utf8_lossy(&node.value).into_owned();
                    let wanted = String::from_utf8_lossy(&value).into_owned();
                    wrong.push(format!("wrong: {path} is {found:?}, not {wanted:?}"));
                }
                let owner = workload.domain;
                let wanted = match state.permissions {
                    Permissions::Nobody => Some(vec![format!("n{owner}")]),
                    Permissions::Readable => Some(vec![format!("r{owner}")]),
                    Permissions::Inherited => parent(&path, tree),
                };
                let found = node.permissions;
                if wanted.as_ref() != Some(&found) {
                    let wanted = wanted.unwrap_or_default();
                    wrong.push(format!(
                        "wrong: {path} has permissions {found:?}, not {wanted:?}"
                    ));
                }
            }
        }
    }
    if (0..workload.workers()).any(|worker| workload.role(worker) == Role::Accounts) {
        let account = workload.account(0).to_string();
        let parent = account
            .rsplit_once('/')
            .map(|(parent, _)| parent.to_owned());
        directories.extend(parent);
        wrong.extend(sum(workload, &mut rest));
    }
    for directory in directories {
        if rest
            .remove(&directory)
            .is_some_and(|node| !node.value.is_empty())
        {
            wrong.push(format!("wrong: {directory} has a value"));
        }
    }
    wrong.extend(rest.into_keys().map(|path| format!("extra: {path}")));
    wrong
}

/// The permissions of the node above, which a new one gets.
fn parent(path: &str, tree: &Tree) -> Option<Vec<String>> {
    let (parent, _) = path.rsplit_once('/')?;
    Some(tree.0.get(parent)?.permissions.clone())
}

/// Takes the accounts out of `rest`; what is wrong with them.
fn sum(workload: &Workload, rest: &mut BTreeMap<String, Node>) -> Option<String> {
    let mut amounts = Vec::new();
    for account in 0..ACCOUNTS {
        let path = workload.account(account);
        let node = rest.remove(path.as_str());
        let text = node.map(|node| String::from_utf8_lossy(&node.value).into_owned());
        match text.as_ref().and_then(|text| text.parse::<u64>().ok()) {
            Some(amount) => amounts.push(amount),
            None => return Some(format!("wrong: {path} is {text:?}, not a number")),
        }
    }
    let sum: u64 = amounts.iter().sum();
    (sum != TOTAL)
        .then(|| format!("wrong: the accounts are {amounts:?}, which is {sum}, not {TOTAL}"))
}
