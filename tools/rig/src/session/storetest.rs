// SPDX-License-Identifier: BSD-2-Clause
//! Xen's own test of xenstored (`test-xenstore` of Debian's Xen utilities): what the daemon can do, and load beside a guest.

use std::time::Duration;

use super::Rig;
use crate::dom0::Job;
use crate::error::{Error, Kind, Result};

const PROGRAM: &str = "test-xenstore";
/// What it leaves when it is killed.
const LEFT: &str = "/local/domain/0/xenstore-test";

/// How long one kind of request takes the test's client in dom0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreTest {
    /// The test's own name for it, such as `read 1` or `ta rmw`.
    pub name: String,
    /// Nanoseconds of dom0's clock on the average; with `icount`, instructions.
    pub average: u64,
    /// The fastest one.
    pub least: u64,
    /// The slowest one.
    pub most: u64,
}

/// A load on xenstored that ends by itself, or by [`Rig::end_store_load`].
pub struct StoreLoad(Job);

impl Rig {
    /// Runs each of the test's kinds of request `iterations` times.
    ///
    /// # Errors
    /// A request failed, or the test printed something else than its times.
    pub fn store_test(&self, iterations: u32) -> Result<Vec<StoreTest>> {
        let command = format!("{PROGRAM} -i {iterations}");
        let said = self.dom0(&command, Duration::from_secs(300))?.ok(PROGRAM)?;
        let tests = said.lines().map(|line| {
            parse(line)
                .ok_or_else(|| Error::new(Kind::Dom0, format!("dom0: {PROGRAM} said: {line}")))
        });
        let tests: Vec<StoreTest> = tests.collect::<Result<_>>()?;
        if tests.is_empty() {
            return Err(Error::new(
                Kind::Dom0,
                format!("dom0: {PROGRAM} said nothing"),
            ));
        }
        Ok(tests)
    }

    /// Lets the test make requests at random for so long.
    ///
    /// # Errors
    /// The line to dom0 is lost.
    pub fn store_load(&self, seconds: u32) -> Result<StoreLoad> {
        let limit = Duration::from_secs(u64::from(seconds) + 60);
        let job = self.spawn_dom0(&format!("{PROGRAM} -r {seconds}"), limit)?;
        Ok(StoreLoad(job))
    }

    /// Ends a load and removes what it left in the store.
    ///
    /// # Errors
    /// It had failed, or dom0 does not answer.
    pub fn end_store_load(&self, mut load: StoreLoad) -> Result {
        if !load.0.has_ended()? {
            self.kill_dom0(&load.0)?;
        }
        let done = load.0.finish(Duration::from_secs(20))?;
        self.dom0_ok(&format!("xenstore-rm {LEFT} || true"))?;
        // Killed, it has no code.
        match done.code {
            None | Some(0) => Ok(()),
            Some(_) => done.ok(PROGRAM).map(drop),
        }
    }
}

/// `NAME : avg: 10 ns (8 ns .. 12 ns)`, or `NAME : 10 ns` for a single one.
fn parse(line: &str) -> Option<StoreTest> {
    let (name, times) = line.split_once(':')?;
    let number = |text: &str| text.trim().strip_suffix("ns")?.trim_end().parse().ok();
    let (average, least, most) = match times.trim().strip_prefix("avg:") {
        None => {
            let only = number(times)?;
            (only, only, only)
        }
        Some(rest) => {
            let (average, range) = rest.split_once('(')?;
            let (least, most) = range.strip_suffix(')')?.split_once("..")?;
            (number(average)?, number(least)?, number(most)?)
        }
    };
    Some(StoreTest {
        name: name.trim_end().to_owned(),
        average,
        least,
        most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_test_gives_a_name_and_three_times() {
        let test = |name: &str, average, least, most| StoreTest {
            name: name.into(),
            average,
            least,
            most,
        };
        assert_eq!(
            parse("ta empty x: avg: 210183 ns (208783 ns .. 227283 ns)"),
            Some(test("ta empty x", 210_183, 208_783, 227_283))
        );
        assert_eq!(
            parse("dir       : 1425230 ns"),
            Some(test("dir", 1_425_230, 1_425_230, 1_425_230))
        );
        for bad in [
            "",
            "read 1    : failed (ret = 2, stage test)",
            "read 1 : avg: 1 ns (2 ns)",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
