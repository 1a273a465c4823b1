// SPDX-License-Identifier: BSD-2-Clause
//! The registry as a tree in memory: keys, values and the rules about them.
//!
//! Keys are named by a [`KeyId`] that stays valid while a handle may hold it: a deleted key keeps its
//! slot, marked, so that a late use answers `STATUS_KEY_DELETED` as it does in NT. Subkeys are kept in
//! upper-case order, values in order of creation. The caller serialises access; nothing here blocks.

use alloc::vec::Vec;

use super::status;

/// Names a key for as long as the registry lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyId(usize);

impl KeyId {
    /// The number that a handle carries.
    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }

    /// The key of a handle's number.
    pub(crate) fn from_number(number: u64) -> Self {
        Self(number as usize)
    }
}

/// One value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    /// The name as it was first set.
    pub(crate) name: Vec<u16>,
    /// The `REG_...` type.
    pub(crate) kind: u32,
    /// The raw data.
    pub(crate) data: Vec<u8>,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// The last part of the path, as it was created.
    pub(crate) name: Vec<u16>,
    /// Subkeys in upper-case order of their names.
    pub(crate) children: Vec<KeyId>,
    /// Values in order of creation.
    pub(crate) values: Vec<Value>,
    /// Time of the last change, in 100 ns since 1601.
    pub(crate) written: i64,
    parent: Option<KeyId>,
    volatile: bool,
    deleted: bool,
}

/// Whether a create made the key or found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disposition {
    /// `REG_CREATED_NEW_KEY`.
    Created,
    /// `REG_OPENED_EXISTING_KEY`.
    Opened,
}

/// A registry call's result; the error is an NTSTATUS.
pub(crate) type Result<T = ()> = core::result::Result<T, i32>;

/// The longest key name in 16-bit units.
const MAX_NAME: usize = 255;

/// The whole registry.
#[derive(Debug)]
pub(crate) struct Registry {
    keys: Vec<Key>,
}

fn upper(unit: u16) -> u16 {
    crate::rtl::upcase(unit)
}

fn same(left: &[u16], right: &[u16]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| upper(*l) == upper(*r))
}

fn order(left: &[u16], right: &[u16]) -> core::cmp::Ordering {
    left.iter()
        .copied()
        .map(upper)
        .cmp(right.iter().copied().map(upper))
}

impl Registry {
    /// The root, `\Registry`'s parent.
    pub(crate) const ROOT: KeyId = KeyId(0);

    /// Makes a registry that holds `\Registry\Machine` and `\Registry\User`.
    pub(crate) fn new() -> Self {
        let mut registry = Self { keys: Vec::new() };
        registry.add(None, &[], false, 0);
        let top = registry.add(Some(Self::ROOT), &wide("Registry"), false, 0);
        registry.add(Some(top), &wide("Machine"), false, 0);
        registry.add(Some(top), &wide("User"), false, 0);
        registry
    }

    fn add(&mut self, parent: Option<KeyId>, name: &[u16], volatile: bool, now: i64) -> KeyId {
        let id = KeyId(self.keys.len());
        self.keys.push(Key {
            name: name.to_vec(),
            children: Vec::new(),
            values: Vec::new(),
            written: now,
            parent,
            volatile,
            deleted: false,
        });
        if let Some(parent) = parent {
            let at = self.keys[parent.0]
                .children
                .partition_point(|child| order(&self.keys[child.0].name, name).is_lt());
            self.keys[parent.0].children.insert(at, id);
            self.keys[parent.0].written = now;
        }
        id
    }

    /// Returns a key that still exists.
    pub(crate) fn key(&self, id: KeyId) -> Result<&Key> {
        self.keys
            .get(id.0)
            .filter(|key| !key.deleted)
            .ok_or(status::KEY_DELETED)
    }

    fn key_mut(&mut self, id: KeyId) -> Result<&mut Key> {
        self.keys
            .get_mut(id.0)
            .filter(|key| !key.deleted)
            .ok_or(status::KEY_DELETED)
    }

    fn child(&self, parent: KeyId, name: &[u16]) -> Option<KeyId> {
        let children = &self.keys[parent.0].children;
        children
            .binary_search_by(|child| order(&self.keys[child.0].name, name))
            .ok()
            .map(|at| children[at])
    }

    /// Splits `path` below `root` (or from the top) into parts.
    fn start<'p>(&self, root: Option<KeyId>, path: &'p [u16]) -> Result<(KeyId, &'p [u16])> {
        let absolute = path.first() == Some(&u16::from(b'\\'));
        match root {
            Some(_) if absolute => Err(status::OBJECT_PATH_SYNTAX_BAD),
            Some(root) => self.key(root).map(|_| (root, path)),
            None if absolute => Ok((Self::ROOT, &path[1..])),
            None => Err(status::OBJECT_PATH_SYNTAX_BAD),
        }
    }

    /// Opens a key. Several path parts at once are fine.
    pub(crate) fn open(&self, root: Option<KeyId>, path: &[u16]) -> Result<KeyId> {
        let (mut at, path) = self.start(root, path)?;
        for part in parts(path) {
            at = self.child(at, part).ok_or(status::OBJECT_NAME_NOT_FOUND)?;
        }
        Ok(at)
    }

    /// Opens a key or creates its last part.
    pub(crate) fn create(
        &mut self,
        root: Option<KeyId>,
        path: &[u16],
        volatile: bool,
        now: i64,
    ) -> Result<(KeyId, Disposition)> {
        let (mut at, path) = self.start(root, path)?;
        let count = parts(path).count();
        for (index, part) in parts(path).enumerate() {
            at = match self.child(at, part) {
                Some(child) => child,
                None if index + 1 < count => return Err(status::OBJECT_NAME_NOT_FOUND),
                None if part.len() > MAX_NAME => return Err(status::INVALID_PARAMETER),
                None if at == Self::ROOT => return Err(status::ACCESS_DENIED),
                None if self.keys[at.0].volatile && !volatile => {
                    return Err(status::CHILD_MUST_BE_VOLATILE);
                }
                None => {
                    return Ok((
                        self.add(Some(at), part, volatile, now),
                        Disposition::Created,
                    ));
                }
            };
        }
        Ok((at, Disposition::Opened))
    }

    /// Creates every missing part of an absolute path, for the content given at boot.
    pub(crate) fn create_all(&mut self, path: &[u16]) -> Result<KeyId> {
        let (mut at, path) = self.start(None, path)?;
        for part in parts(path) {
            at = match self.child(at, part) {
                Some(child) => child,
                None => self.add(Some(at), part, false, 0),
            };
        }
        Ok(at)
    }

    /// Deletes a key that has no subkeys.
    pub(crate) fn delete(&mut self, id: KeyId) -> Result {
        let key = self.key(id)?;
        let Some(parent) = key.parent else {
            return Err(status::CANNOT_DELETE);
        };
        if !key.children.is_empty() {
            return Err(status::CANNOT_DELETE);
        }
        self.keys[parent.0].children.retain(|child| *child != id);
        let key = self.key_mut(id)?;
        key.deleted = true;
        key.values.clear();
        Ok(())
    }

    /// Finds a value by name.
    pub(crate) fn value(&self, id: KeyId, name: &[u16]) -> Result<&Value> {
        let key = self.key(id)?;
        key.values
            .iter()
            .find(|value| same(&value.name, name))
            .ok_or(status::OBJECT_NAME_NOT_FOUND)
    }

    /// Creates or replaces a value.
    pub(crate) fn set(
        &mut self,
        id: KeyId,
        name: &[u16],
        kind: u32,
        data: &[u8],
        now: i64,
    ) -> Result {
        let key = self.key_mut(id)?;
        key.written = now;
        match key.values.iter_mut().find(|value| same(&value.name, name)) {
            Some(value) => {
                value.kind = kind;
                value.data = data.to_vec();
            }
            None => key.values.push(Value {
                name: name.to_vec(),
                kind,
                data: data.to_vec(),
            }),
        }
        Ok(())
    }

    /// Deletes a value.
    pub(crate) fn unset(&mut self, id: KeyId, name: &[u16], now: i64) -> Result {
        let key = self.key_mut(id)?;
        let at = key
            .values
            .iter()
            .position(|value| same(&value.name, name))
            .ok_or(status::OBJECT_NAME_NOT_FOUND)?;
        key.values.remove(at);
        key.written = now;
        Ok(())
    }

    /// Returns the absolute path of a key.
    pub(crate) fn path(&self, id: KeyId) -> Result<Vec<u16>> {
        let mut names = Vec::new();
        let mut at = Some(id);
        while let Some(id) = at {
            let key = self.key(id)?;
            names.push(&key.name);
            at = key.parent;
        }
        let mut path = Vec::new();
        for name in names.iter().rev().filter(|name| !name.is_empty()) {
            path.push(u16::from(b'\\'));
            path.extend_from_slice(name);
        }
        Ok(path)
    }
}

fn parts(path: &[u16]) -> impl Iterator<Item = &[u16]> {
    path.split(|unit| *unit == u16::from(b'\\'))
        .filter(|part| !part.is_empty())
}

/// Converts a string to UTF-16.
pub(crate) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> (Registry, KeyId) {
        let mut registry = Registry::new();
        let id = registry
            .create_all(&wide(r"\Registry\Machine\SYSTEM\Services\xen"))
            .unwrap();
        (registry, id)
    }

    #[test]
    fn paths_are_case_insensitive_and_may_have_many_parts() {
        let (registry, id) = filled();
        let path = wide(r"\REGISTRY\machine\System\SERVICES\Xen\");
        assert_eq!(registry.open(None, &path), Ok(id));
        let services = registry
            .open(None, &wide(r"\registry\machine\system\services"))
            .unwrap();
        assert_eq!(registry.open(Some(services), &wide("XEN")), Ok(id));
        assert_eq!(registry.open(Some(services), &[]), Ok(services));
    }

    #[test]
    fn what_is_missing_is_not_found_and_bad_syntax_is_said_so() {
        let (registry, id) = filled();
        let open = |path| registry.open(None, &wide(path));
        assert_eq!(
            open(r"\Registry\Machine\None"),
            Err(status::OBJECT_NAME_NOT_FOUND)
        );
        assert_eq!(
            open(r"\Registry\None\xen"),
            Err(status::OBJECT_NAME_NOT_FOUND)
        );
        assert_eq!(open("Registry"), Err(status::OBJECT_PATH_SYNTAX_BAD));
        assert_eq!(
            registry.open(Some(id), &wide(r"\Parameters")),
            Err(status::OBJECT_PATH_SYNTAX_BAD)
        );
    }

    #[test]
    fn create_makes_only_the_last_part() {
        let (mut registry, id) = filled();
        let (made, how) = registry
            .create(Some(id), &wide("Parameters"), false, 1)
            .unwrap();
        assert_eq!(how, Disposition::Created);
        assert_eq!(
            registry.create(Some(id), &wide("PARAMETERS"), false, 2),
            Ok((made, Disposition::Opened))
        );
        assert_eq!(
            registry.create(Some(id), &wide(r"a\b"), false, 3),
            Err(status::OBJECT_NAME_NOT_FOUND)
        );
    }

    #[test]
    fn a_stable_key_cannot_live_under_a_volatile_one() {
        let (mut registry, id) = filled();
        let (memory, _) = registry.create(Some(id), &wide("Memory"), true, 0).unwrap();
        assert_eq!(
            registry.create(Some(memory), &wide("x"), false, 0),
            Err(status::CHILD_MUST_BE_VOLATILE)
        );
        assert!(registry.create(Some(memory), &wide("x"), true, 0).is_ok());
    }

    #[test]
    fn values_are_replaced_in_place_and_keep_their_order() {
        let (mut registry, id) = filled();
        registry.set(id, &wide("One"), 4, &[1], 0).unwrap();
        registry.set(id, &wide("Two"), 4, &[2], 0).unwrap();
        registry.set(id, &wide("ONE"), 1, &[3, 0], 0).unwrap();
        let key = registry.key(id).unwrap();
        assert_eq!(key.values.len(), 2);
        assert_eq!(
            key.values[0],
            Value {
                name: wide("One"),
                kind: 1,
                data: [3, 0].to_vec()
            }
        );
        registry.unset(id, &wide("one"), 0).unwrap();
        assert_eq!(
            registry.unset(id, &wide("one"), 0),
            Err(status::OBJECT_NAME_NOT_FOUND)
        );
        assert_eq!(
            registry.value(id, &wide("one")),
            Err(status::OBJECT_NAME_NOT_FOUND)
        );
    }

    #[test]
    fn subkeys_enumerate_in_upper_case_order() {
        let (mut registry, id) = filled();
        for name in ["zeta", "Beta", "alpha"] {
            registry.create(Some(id), &wide(name), false, 0).unwrap();
        }
        let key = registry.key(id).unwrap();
        let names: Vec<_> = key
            .children
            .iter()
            .map(|id| registry.key(*id).unwrap().name.clone())
            .collect();
        assert_eq!(names, [wide("alpha"), wide("Beta"), wide("zeta")]);
    }

    #[test]
    fn a_deleted_key_answers_key_deleted_and_one_with_subkeys_stays() {
        let (mut registry, id) = filled();
        let (child, _) = registry.create(Some(id), &wide("child"), false, 0).unwrap();
        assert_eq!(registry.delete(id), Err(status::CANNOT_DELETE));
        registry.delete(child).unwrap();
        assert_eq!(
            registry.set(child, &wide("v"), 4, &[0], 0),
            Err(status::KEY_DELETED)
        );
        assert_eq!(
            registry.open(Some(id), &wide("child")),
            Err(status::OBJECT_NAME_NOT_FOUND)
        );
        registry.delete(id).unwrap();
    }

    #[test]
    fn the_path_of_a_key_leads_back_to_it() {
        let (registry, id) = filled();
        let path = registry.path(id).unwrap();
        assert_eq!(registry.open(None, &path), Ok(id));
    }
}
