// SPDX-License-Identifier: BSD-2-Clause
//! `XenTouch`: may this image work with that one?
//!
//! The ABI between the three images is private to one build, and an upgrade leaves the old xen.sys in
//! memory until the next boot. A mixed set must therefore do nothing at all.
//!
//! # IRQL
//! PASSIVE_LEVEL.

use kexec::{Result, Status};
use xenbus_interface::errno::status::INCOMPATIBLE_DRIVER_BLOCKED;
use xenbus_interface::xen::Build;

/// The answer to an image of version `caller`.
///
/// The versions are compared first: with a mixed set nothing else that either side says counts.
pub fn check(own: Build, caller: Build, on_xen: bool) -> Result {
    if own != caller {
        return Err(INCOMPATIBLE_DRIVER_BLOCKED);
    }
    if !on_xen {
        return Err(Status::NOT_IMPLEMENTED);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Build = Build {
        major: 10,
        minor: 1,
        micro: 2,
        build: 3,
    };

    #[test]
    fn the_same_build_is_welcome_on_xen() {
        assert_eq!(check(OWN, OWN, true), Ok(()));
    }

    #[test]
    fn any_difference_blocks_whether_on_xen_or_not() {
        for caller in [
            Build { major: 9, ..OWN },
            Build { minor: 0, ..OWN },
            Build { micro: 0, ..OWN },
            Build { build: 4, ..OWN },
        ] {
            for on_xen in [false, true] {
                let result = check(OWN, caller, on_xen);
                assert_eq!(result, Err(INCOMPATIBLE_DRIVER_BLOCKED), "{caller}");
            }
        }
    }

    #[test]
    fn off_xen_there_is_nothing_to_work_with() {
        assert_eq!(check(OWN, OWN, false), Err(Status::NOT_IMPLEMENTED));
    }
}
