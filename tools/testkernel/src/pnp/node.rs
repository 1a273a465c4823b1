// SPDX-License-Identifier: BSD-2-Clause
//! Device nodes: what the PnP manager knows about each physical device object.
//!
//! Only the PnP thread changes the tree; other threads read properties under the lock, which is never
//! held over a driver.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::mem::Ptr;
use crate::sync::Lock;

/// How far a device has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No driver, or not started yet.
    Stopped,
    /// Drivers are attached, the device is not started.
    Added,
    /// Started.
    Started,
    /// It could not be started.
    Failed,
}

/// One device node.
#[derive(Clone, Debug)]
pub struct Node {
    /// The physical device object; the node holds a reference.
    pub pdo: Ptr,
    /// The node of the bus.
    pub parent: Option<Ptr>,
    /// The devices on this bus, in the order they were found.
    pub children: Vec<Ptr>,
    /// How far it has come.
    pub state: State,
    /// `ENUMERATOR\DEVICE\INSTANCE`.
    pub path: String,
    /// From the most specific one on.
    pub hardware_ids: Vec<String>,
    /// From the most specific one on.
    pub compatible_ids: Vec<String>,
    /// What the bus says about the device.
    pub description: String,
    /// Where the bus says it is.
    pub location: String,
    /// The function driver's service.
    pub service: Option<String>,
    /// The set-up class.
    pub class: Option<String>,
    /// `DEVICE_CAPABILITIES` as the stack answered last.
    pub capabilities: [u32; 16],
    /// `PNP_BUS_INFORMATION`, if the bus says.
    pub bus: Option<[u8; 24]>,
    /// The requirements list that the bus gave, in pool.
    pub requirements: Ptr,
    /// Raw resources that the device was started with.
    pub raw: Vec<u8>,
    /// The same, translated.
    pub resources: Vec<u8>,
}

static NODES: Lock<BTreeMap<Ptr, Node>> = Lock::new(BTreeMap::new());

/// Enters a node for a device object.
pub fn add(pdo: Ptr, parent: Option<Ptr>) {
    let node = Node {
        pdo,
        parent,
        children: Vec::new(),
        state: State::Stopped,
        path: String::new(),
        hardware_ids: Vec::new(),
        compatible_ids: Vec::new(),
        description: String::new(),
        location: String::new(),
        service: None,
        class: None,
        capabilities: [0; 16],
        bus: None,
        requirements: Ptr::NULL,
        raw: Vec::new(),
        resources: Vec::new(),
    };
    let mut nodes = NODES.lock();
    nodes.insert(pdo, node);
    if let Some(parent) = parent.and_then(|parent| nodes.get_mut(&parent)) {
        parent.children.push(pdo);
    }
}

/// Drops a node.
pub fn remove(pdo: Ptr) {
    let mut nodes = NODES.lock();
    let parent = nodes.remove(&pdo).and_then(|node| node.parent);
    if let Some(parent) = parent.and_then(|parent| nodes.get_mut(&parent)) {
        parent.children.retain(|child| *child != pdo);
    }
}

/// Changes a node; nothing when it is gone.
pub fn update(pdo: Ptr, change: impl FnOnce(&mut Node)) {
    if let Some(node) = NODES.lock().get_mut(&pdo) {
        change(node);
    }
}

/// Reads a node.
pub fn read<T>(pdo: Ptr, look: impl FnOnce(&Node) -> T) -> Option<T> {
    NODES.lock().get(&pdo).map(look)
}

/// A copy of a node.
pub fn get(pdo: Ptr) -> Option<Node> {
    read(pdo, Node::clone)
}

/// The devices on a bus.
pub fn children(pdo: Ptr) -> Vec<Ptr> {
    read(pdo, |node| node.children.clone()).unwrap_or_default()
}

/// Every device, buses before what is on them.
pub fn all_from(root: Ptr) -> Vec<Ptr> {
    let mut found = alloc::vec![root];
    let mut at = 0;
    while at < found.len() {
        let more = children(found[at]);
        found.extend(more);
        at += 1;
    }
    found
}
