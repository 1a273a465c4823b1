// SPDX-License-Identifier: BSD-2-Clause
//! `boot.cfg`: what this run shall do. Lines `key=value`; `#` starts a comment.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The parsed file.
#[derive(Debug, Default, Clone)]
pub struct Config {
    entries: Vec<(String, String)>,
}

impl Config {
    /// Parses the text.
    pub fn parse(text: &str) -> Self {
        let entries = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or("").trim())
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_string(), value.trim().to_string()))
            .collect();
        Self { entries }
    }

    /// The value of a key; the last line wins.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// The value of a key as a number, decimal or 0x.
    pub fn number(&self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => value.parse().ok(),
        }
    }

    /// Whether a switch is on (`key=1`).
    pub fn flag(&self, key: &str) -> bool {
        self.number(key).unwrap_or(0) != 0
    }

    /// The value of a key as a list of words.
    pub fn words(&self, key: &str) -> impl Iterator<Item = &str> {
        self.get(key).unwrap_or("").split_whitespace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_wins_and_comments_are_dropped() {
        let c = Config::parse("a=1\n# a=9\na = 2 # two\nlist=x  y\nseed=0x10\n");
        assert_eq!(c.get("a"), Some("2"));
        assert_eq!(c.words("list").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(c.number("seed"), Some(16));
        assert!(!c.flag("pnp"));
    }
}
