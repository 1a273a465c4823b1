// SPDX-License-Identifier: BSD-2-Clause
//! A small registry: keys and values in the order they were made, names without regard to case.

use crate::{Error, Result};
use std::fmt;

/// A value's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// REG_SZ.
    Sz(String),
    /// REG_EXPAND_SZ.
    ExpandSz(String),
    /// REG_MULTI_SZ.
    MultiSz(Vec<String>),
    /// REG_DWORD.
    Dword(u32),
    /// REG_QWORD.
    Qword(u64),
    /// REG_BINARY.
    Binary(Vec<u8>),
}

impl Data {
    /// The type's name in `registry.txt`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sz(_) => "sz",
            Self::ExpandSz(_) => "expand_sz",
            Self::MultiSz(_) => "multi_sz",
            Self::Dword(_) => "dword",
            Self::Qword(_) => "qword",
            Self::Binary(_) => "binary",
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sz(text) | Self::ExpandSz(text) => f.write_str(text),
            Self::MultiSz(items) => f.write_str(&items.join("|")),
            Self::Dword(value) => write!(f, "{value}"),
            Self::Qword(value) => write!(f, "{value}"),
            Self::Binary(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// One line of `registry.txt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A key.
    Key(String),
    /// A value of a key.
    Value {
        /// The key's full path.
        key: String,
        /// The value's name, empty for the default value.
        name: String,
        /// The data.
        data: Data,
    },
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(path) => write!(f, "K\t{path}"),
            Self::Value { key, name, data } => {
                write!(f, "V\t{key}\t{name}\t{}\t{data}", data.kind())
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Key {
    path: String,
    values: Vec<(String, Data)>,
}

/// Keys and values.
///
/// # Invariants
///
/// No two keys, and no two values of a key, have names that differ only in case; no text has a
/// character that would break a line of `registry.txt`.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    keys: Vec<Key>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the key `path` (its parents are implied).
    ///
    /// # Errors
    ///
    /// A name that `registry.txt` cannot carry.
    pub fn create(&mut self, path: &str) -> Result {
        self.key(path).map(drop)
    }

    /// Sets a value, making its key.
    ///
    /// # Errors
    ///
    /// A name or text that `registry.txt` cannot carry.
    pub fn set(&mut self, path: &str, name: &str, data: Data) -> Result {
        printable(name, false)?;
        match &data {
            Data::Sz(text) | Data::ExpandSz(text) => printable(text, false)?,
            Data::MultiSz(items) => items.iter().try_for_each(|item| printable(item, true))?,
            Data::Dword(_) | Data::Qword(_) | Data::Binary(_) => {}
        }
        let key = self.key(path)?;
        match key
            .values
            .iter_mut()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
        {
            Some(slot) => slot.1 = data,
            None => key.values.push((name.to_owned(), data)),
        }
        Ok(())
    }

    /// Appends to a multi-string what is not in it yet (without regard to case).
    ///
    /// # Errors
    ///
    /// The value exists with another type, or cannot be carried by `registry.txt`.
    pub fn append(&mut self, path: &str, name: &str, items: &[String]) -> Result {
        let mut list = match self.get(path, name) {
            None => Vec::new(),
            Some(Data::MultiSz(list)) => list.clone(),
            Some(other) => {
                return Err(Error::new(
                    0,
                    format!("{path}: {name} is {}, not multi_sz", other.kind()),
                ));
            }
        };
        for item in items {
            if !list.iter().any(|found| found.eq_ignore_ascii_case(item)) {
                list.push(item.clone());
            }
        }
        self.set(path, name, Data::MultiSz(list))
    }

    /// The data of a value.
    #[must_use]
    pub fn get(&self, path: &str, name: &str) -> Option<&Data> {
        let key = self
            .keys
            .iter()
            .find(|key| key.path.eq_ignore_ascii_case(path))?;
        let found = key
            .values
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// The lines of `registry.txt`, without their ends.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let mut out = Vec::new();
        for key in &self.keys {
            out.push(Entry::Key(key.path.clone()));
            for (name, data) in &key.values {
                out.push(Entry::Value {
                    key: key.path.clone(),
                    name: name.clone(),
                    data: data.clone(),
                });
            }
        }
        out
    }

    fn key(&mut self, path: &str) -> Result<&mut Key> {
        printable(path, false)?;
        let found = self
            .keys
            .iter()
            .position(|key| key.path.eq_ignore_ascii_case(path));
        let index = found.unwrap_or_else(|| {
            self.keys.push(Key {
                path: path.to_owned(),
                values: Vec::new(),
            });
            self.keys.len() - 1
        });
        Ok(&mut self.keys[index])
    }
}

impl fmt::Display for Registry {
    /// The whole `registry.txt`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries()
            .iter()
            .try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

fn printable(text: &str, item: bool) -> Result {
    let bad = |c: char| c.is_control() || (item && c == '|');
    if text.chars().any(bad) || (item && text.is_empty()) {
        return Err(Error::new(0, format!("registry.txt cannot carry {text:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_print_in_order_and_names_ignore_case() {
        let mut registry = Registry::new();
        registry.create("\\Registry\\Machine\\A").unwrap();
        registry
            .set("\\registry\\machine\\a", "N", Data::Dword(1))
            .unwrap();
        registry
            .set("\\Registry\\Machine\\A", "n", Data::Dword(16))
            .unwrap();
        registry
            .set("\\Registry\\Machine\\A", "B", Data::Binary(vec![1, 0xAB]))
            .unwrap();
        assert_eq!(
            registry.to_string(),
            "K\t\\Registry\\Machine\\A\n\
             V\t\\Registry\\Machine\\A\tN\tdword\t16\n\
             V\t\\Registry\\Machine\\A\tB\tbinary\t01ab\n"
        );
    }

    #[test]
    fn append_keeps_order_and_adds_each_name_once() {
        let mut registry = Registry::new();
        let add = |items: &[&str]| items.iter().map(|&i| i.to_owned()).collect::<Vec<_>>();
        registry
            .append("\\K", "F", &add(&["foo", "XENFILT"]))
            .unwrap();
        registry
            .append("\\K", "F", &add(&["xenfilt", "bar"]))
            .unwrap();
        assert_eq!(
            registry.get("\\K", "F").unwrap().to_string(),
            "foo|XENFILT|bar"
        );
        registry.set("\\K", "F", Data::Dword(0)).unwrap();
        assert!(registry.append("\\K", "F", &add(&["x"])).is_err());
    }

    #[test]
    fn text_that_would_break_a_line_is_refused() {
        let mut registry = Registry::new();
        assert!(registry.set("\\K", "a\tb", Data::Dword(0)).is_err());
        assert!(registry.set("\\K", "a", Data::Sz("x\n".into())).is_err());
        let items = vec!["a|b".to_owned()];
        assert!(registry.set("\\K", "a", Data::MultiSz(items)).is_err());
    }
}
