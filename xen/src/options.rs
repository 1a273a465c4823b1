// SPDX-License-Identifier: BSD-2-Clause
//! Options from the registry: `SystemStartOptions` tokens and log level lists.
//!
//! # IRQL
//! Any.

use xenbus_interface::xen::LogLevel;

/// The value of the first token that begins with `key` (its `=` included); case matters.
pub fn start_option<'a>(options: &'a str, key: &str) -> Option<&'a str> {
    options.split(' ').find_map(|token| token.strip_prefix(key))
}

/// A mask from level names, in any case; unknown ones count for nothing.
pub fn log_levels<'a>(names: impl Iterator<Item = &'a str>) -> u32 {
    const NAMES: [(&str, LogLevel); 5] = [
        ("TRACE", LogLevel::Trace),
        ("INFO", LogLevel::Info),
        ("WARNING", LogLevel::Warning),
        ("ERROR", LogLevel::Error),
        ("CRITICAL", LogLevel::Critical),
    ];
    names.fold(0, |mask, name| {
        let level = NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        mask | level.map_or(0, |(_, level)| *level as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_with_the_key_wins_and_case_matters() {
        let options = "/NOEXECUTE=OPTIN XEN:BOOT_EMULATED=TRUE  XEN:BOOT_EMULATED=FALSE";
        assert_eq!(start_option(options, "XEN:BOOT_EMULATED="), Some("TRUE"));
        assert_eq!(start_option(options, "xen:BOOT_EMULATED="), None);
        assert_eq!(start_option(options, "XEN:WATCHDOG="), None);
        assert_eq!(start_option("", "XEN:WATCHDOG="), None);
    }

    #[test]
    fn level_names_are_joined_and_unknown_ones_ignored() {
        let names = ["info", "CRITICAL", "loud", ""];
        assert_eq!(log_levels(names.into_iter()), 0x8000_0008);
        assert_eq!(log_levels([].into_iter()), 0);
    }
}
