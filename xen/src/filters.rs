// SPDX-License-Identifier: BSD-2-Clause
//! xenfilt among the upper filters of the system and disk controller classes.
//!
//! Windows reads the lists when it builds a device's stack, so a change counts at the next boot. Other
//! names in the lists are other people's: they are kept, in their order, and a list that cannot be read
//! as one is left alone.
//!
//! # IRQL
//! PASSIVE_LEVEL.

use kexec::nt::{Key, Tag, Vec, WStr, WString};
use kexec::{Passive, Result, Status, wstr};

const TAG: Tag = Tag(*b"FILT");

const SYSTEM: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e97d-e325-11ce-bfc1-08002be10318}";
const CONTROLLERS: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e96a-e325-11ce-bfc1-08002be10318}";

/// Adds xenfilt to both classes. Each class is for itself; a failure is logged.
pub fn install(passive: Passive) {
    for class in [wstr!(SYSTEM), wstr!(CONTROLLERS)] {
        report("install", change(passive, class, add));
    }
}

/// Removes xenfilt from both classes, in the other order. A failure is logged.
pub fn uninstall(passive: Passive) {
    for class in [wstr!(CONTROLLERS), wstr!(SYSTEM)] {
        report("uninstall", change(passive, class, remove));
    }
}

fn report(what: &str, result: Result<bool>) {
    match result {
        Ok(true) => kexec::info!("xen: filters: {what}ed"),
        Ok(false) => {}
        Err(status) => kexec::warn!("xen: filters: cannot {what}, {status}"),
    }
}

fn own() -> WStr<'static> {
    wstr!("XENFILT")
}

/// Puts xenfilt last unless it is there already; says whether that changed the list.
fn add(list: &mut Vec<WString>) -> Result<bool> {
    if list.iter().any(is_own) {
        return Ok(false);
    }
    list.try_push(WString::try_from_units(TAG, own().units())?)?;
    Ok(true)
}

/// Takes every xenfilt out.
fn remove(list: &mut Vec<WString>) -> Result<bool> {
    let before = list.len();
    list.retain(|name| !is_own(name));
    Ok(list.len() != before)
}

fn is_own(name: &WString) -> bool {
    name.as_wstr().eq_ignore_ascii_case(own())
}

/// Changes one class's list; nothing is written when nothing changed.
fn change(
    passive: Passive,
    class: WStr<'_>,
    f: fn(&mut Vec<WString>) -> Result<bool>,
) -> Result<bool> {
    let key = Key::open_rw(passive, class)?;
    let name = wstr!("UpperFilters");
    let mut list = match key.query_multi_sz(TAG, name) {
        Ok(list) => list,
        Err(Status::OBJECT_NAME_NOT_FOUND) => Vec::new(TAG),
        Err(status) => return Err(status),
    };
    if !f(&mut list)? {
        return Ok(false);
    }
    let mut names = Vec::new(TAG);
    for name in &list {
        names.try_push(name.as_wstr())?;
    }
    key.set_multi_sz(TAG, name, &names)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use kexec::nt::sys::fake::{self, Session, Value};
    use std::string::String;
    use std::vec;

    fn list(kernel: &Session, class: &str) -> Option<vec::Vec<String>> {
        match kernel.registry(class, "UpperFilters")? {
            Value::MultiSz(list) => Some(list),
            _ => None,
        }
    }

    #[test]
    fn xenfilt_goes_behind_the_others_once_and_comes_out_everywhere() {
        let kernel = fake::boot();
        let passive = Passive::assert();
        kernel.set_registry(SYSTEM, "Class", &Value::Sz("System".into()));
        let others = Value::MultiSz(vec!["partmgr".into(), "other".into()]);
        kernel.set_registry(CONTROLLERS, "UpperFilters", &others);
        install(passive);
        install(passive);
        assert_eq!(list(&kernel, SYSTEM), Some(vec!["XENFILT".into()]));
        let three = ["partmgr", "other", "XENFILT"].map(String::from).to_vec();
        assert_eq!(list(&kernel, CONTROLLERS), Some(three));
        uninstall(passive);
        assert_eq!(list(&kernel, SYSTEM), Some(vec![]), "empty, not deleted");
        let two = ["partmgr", "other"].map(String::from).to_vec();
        assert_eq!(list(&kernel, CONTROLLERS), Some(two));
    }

    #[test]
    fn names_compare_without_case_and_doubles_go_too() {
        let kernel = fake::boot();
        let passive = Passive::assert();
        let doubled = ["xenfilt", "a", "XenFilt"].map(String::from).to_vec();
        kernel.set_registry(SYSTEM, "UpperFilters", &Value::MultiSz(doubled.clone()));
        install(passive);
        assert_eq!(list(&kernel, SYSTEM), Some(doubled));
        uninstall(passive);
        assert_eq!(list(&kernel, SYSTEM), Some(vec!["a".into()]));
    }

    #[test]
    fn a_list_of_another_type_is_left_alone_and_the_other_class_is_not() {
        let kernel = fake::boot();
        kernel.set_registry(SYSTEM, "UpperFilters", &Value::Sz("partmgr".into()));
        kernel.set_registry(CONTROLLERS, "Class", &Value::Sz("hdc".into()));
        install(Passive::assert());
        let kept = kernel.registry(SYSTEM, "UpperFilters");
        assert!(matches!(kept, Some(Value::Sz(text)) if text == "partmgr"));
        assert_eq!(list(&kernel, CONTROLLERS), Some(vec!["XENFILT".into()]));
    }

    #[test]
    fn a_failing_allocation_never_shortens_a_list() {
        for n in 0.. {
            let kernel = fake::boot();
            let others = Value::MultiSz(vec!["partmgr".into()]);
            kernel.set_registry(SYSTEM, "UpperFilters", &others);
            kernel.fail_alloc(Some(n));
            install(Passive::assert());
            let list = list(&kernel, SYSTEM).expect("still there");
            assert_eq!(list[0], "partmgr", "allocation {n}");
            if kernel.fail_pending() {
                assert!(n > 3, "only {n} allocations");
                break;
            }
        }
    }
}
