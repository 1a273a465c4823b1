// SPDX-License-Identifier: BSD-2-Clause
//! Requests to unplug at the next boot: a count for each kind of emulated device.
//!
//! Each boot consumes the values (see [`crate::registry`]); a child driver that works asks again by
//! counting up, and takes that back by counting down. Nothing here changes what this boot unplugged.
//!
//! # IRQL
//! PASSIVE_LEVEL; one caller at a time, as the bus's mutex sees to it.

use kexec::nt::{Key, WStr};
use kexec::{Result, Status, wstr};
use xenbus_interface::xen::{UNPLUG_DISKS, UNPLUG_NICS};

/// Counts one up or down; `unplug` is the key `Services\xen\Unplug`.
///
/// `STATUS_INVALID_PARAMETER` for an unknown kind, below 0 and above what the value holds.
pub fn change(unplug: &Key, kind: u32, up: bool) -> Result<u32> {
    let name: WStr<'_> = match kind {
        UNPLUG_DISKS => wstr!("DISKS"),
        UNPLUG_NICS => wstr!("NICS"),
        _ => return Err(Status::INVALID_PARAMETER),
    };
    let old = match unplug.query_dword(name) {
        Err(Status::OBJECT_NAME_NOT_FOUND) if up => 0,
        other => other?,
    };
    let new = if up {
        old.checked_add(1)
    } else {
        old.checked_sub(1)
    };
    let new = new.ok_or(Status::INVALID_PARAMETER)?;
    unplug.set_dword(name, new)?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kexec::Passive;
    use kexec::nt::sys::fake::{self, Value};

    const KEY: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\xen\\Unplug";

    #[test]
    fn counts_go_up_from_nothing_and_down_to_zero_and_not_below() {
        let kernel = fake::boot();
        kernel.set_registry(KEY, "x", &Value::Dword(0));
        let key = Key::open_rw(Passive::assert(), wstr!(KEY)).expect("there");
        let absent = change(&key, UNPLUG_DISKS, false);
        assert_eq!(absent, Err(Status::OBJECT_NAME_NOT_FOUND));
        assert_eq!(change(&key, UNPLUG_DISKS, true), Ok(1));
        assert_eq!(change(&key, UNPLUG_DISKS, true), Ok(2));
        assert_eq!(change(&key, UNPLUG_NICS, true), Ok(1));
        assert_eq!(change(&key, UNPLUG_DISKS, false), Ok(1));
        assert_eq!(change(&key, UNPLUG_DISKS, false), Ok(0));
        let below = change(&key, UNPLUG_DISKS, false);
        assert_eq!(below, Err(Status::INVALID_PARAMETER));
        let stored = kernel.registry(KEY, "DISKS");
        assert!(matches!(stored, Some(Value::Dword(0))), "0 is stored");
    }

    #[test]
    fn an_unknown_kind_a_full_count_and_another_type_are_refused() {
        let kernel = fake::boot();
        kernel.set_registry(KEY, "DISKS", &Value::Dword(u32::MAX));
        kernel.set_registry(KEY, "NICS", &Value::Sz("1".into()));
        let key = Key::open_rw(Passive::assert(), wstr!(KEY)).expect("there");
        for kind in [2, u32::MAX] {
            assert_eq!(change(&key, kind, true), Err(Status::INVALID_PARAMETER));
        }
        let full = change(&key, UNPLUG_DISKS, true);
        assert_eq!(full, Err(Status::INVALID_PARAMETER));
        assert!(change(&key, UNPLUG_NICS, true).is_err());
    }
}
