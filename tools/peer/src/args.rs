// SPDX-License-Identifier: BSD-2-Clause
//! Words and `--name value` options of a command line.

use std::str::FromStr;

use crate::{Failure, Result};

/// The command line; what is taken is gone, what is left over is an error.
pub(crate) struct Args(Vec<String>);

impl Args {
    pub(crate) fn new(args: impl Iterator<Item = String>) -> Self {
        Self(args.collect())
    }

    /// Takes the first word.
    pub(crate) fn word(&mut self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Takes the first word or says that `what` is missing.
    pub(crate) fn need(&mut self, what: &str) -> Result<String> {
        self.word()
            .ok_or_else(|| Failure::new(format!("{what} is missing")))
    }

    /// Takes `--name value`.
    pub(crate) fn option<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(at) = self.0.iter().position(|a| a == name) else {
            return Ok(None);
        };
        if at + 1 >= self.0.len() {
            return Err(Failure::new(format!("{name} needs a value")));
        }
        self.0.remove(at);
        let value = self.0.remove(at);
        value
            .parse()
            .map(Some)
            .map_err(|_| Failure::new(format!("{name}: bad value {value}")))
    }

    /// Takes `--name value`, which must be there.
    pub(crate) fn required<T: FromStr>(&mut self, name: &str) -> Result<T> {
        self.option(name)?
            .ok_or_else(|| Failure::new(format!("{name} is missing")))
    }

    /// Takes `--name`.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|a| a == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// Refuses what is left.
    pub(crate) fn end(self) -> Result {
        match self.0.first() {
            None => Ok(()),
            Some(word) => Err(Failure::new(format!("unexpected argument {word}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_found_anywhere_and_leftovers_refused() {
        let mut a = args("store --timeout 5 read /x --odd");
        assert_eq!(a.option::<u32>("--timeout").expect("number"), Some(5));
        assert_eq!(a.word().as_deref(), Some("store"));
        assert_eq!(a.word().as_deref(), Some("read"));
        assert_eq!(a.word().as_deref(), Some("/x"));
        assert!(a.end().is_err());
    }

    #[test]
    fn a_bad_number_is_named() {
        let error = args("--domid seven")
            .required::<u32>("--domid")
            .expect_err("bad");
        assert!(error.to_string().contains("--domid: bad value seven"));
    }
}
