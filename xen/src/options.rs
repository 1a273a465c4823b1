// SPDX-License-Identifier: BSD-2-Clause
//! Options from the registry: `SystemStartOptions` tokens.
//!
//! # IRQL
//! Any.

/// The value of the first token that begins with `key` (its `=` included); case matters.
pub fn start_option<'a>(options: &'a str, key: &str) -> Option<&'a str> {
    options.split(' ').find_map(|token| token.strip_prefix(key))
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
}
