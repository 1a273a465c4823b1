// SPDX-License-Identifier: BSD-2-Clause
//! Asking the monitor service for a reboot, and the system's start options.
//!
//! The request is a volatile key, so that any reboot, however it came about, takes it back. It lives in
//! the SYSTEM hive, which alone is there at boot. Where, the INF has said in the caller's parameters.
//!
//! # IRQL
//! PASSIVE_LEVEL.

use kexec::nt::{Key, String, Tag, WStr, WString};
use kexec::{Passive, Result, Status, wstr};

use crate::options::start_option;

const TAG: Tag = Tag(*b"XREG");
/// Components of a request key's path.
const DEEPEST: usize = 16;

/// Asks for a reboot in the name of `module`.
///
/// `parameters` is the path of the caller's parameters key, whose `RequestKey` names the key for
/// requests.
pub fn request(passive: Passive, parameters: WStr<'_>, module: WStr<'_>) -> Result {
    let name = Key::open(passive, parameters)?.query_sz(TAG, wstr!("RequestKey"))?;
    let module_is_name = !module.units().is_empty() && !module.units().contains(&BACKSLASH);
    if !module_is_name {
        return Err(Status::INVALID_PARAMETER);
    }
    let key = create_path(passive, name.as_wstr())?;
    let key = key.create_sub(module, true)?;
    key.set_dword(wstr!("Reboot"), 1)
}

const BACKSLASH: u16 = b'\\' as u16;

/// Creates the components of `path` below the machine's registry, each if it is missing: the kernel
/// creates only the last one of a path.
fn create_path(passive: Passive, path: WStr<'_>) -> Result<Key> {
    let mut key = None;
    let mut whole = kexec::nt::Vec::new(TAG);
    whole.try_extend_from_slice(wstr!("\\Registry\\Machine").units())?;
    let components = path.units().split(|unit| *unit == BACKSLASH);
    let mut count = 0;
    for component in components.filter(|component| !component.is_empty()) {
        count += 1;
        if count > DEEPEST {
            return Err(Status::NAME_TOO_LONG);
        }
        let next = match &key {
            // The roots of the hives are there, and nobody may create one.
            None => {
                whole.try_push(BACKSLASH)?;
                whole.try_extend_from_slice(component)?;
                Key::open_rw(passive, WStr::new(&whole))?
            }
            Some(parent) => Key::create_sub(parent, WStr::new(component), false)?,
        };
        key = Some(next);
    }
    key.ok_or(Status::OBJECT_NAME_INVALID)
}

/// The first of the system's start options that begins with `key`, whole.
///
/// `STATUS_OBJECT_NAME_NOT_FOUND`: there is none.
pub fn start_option_of_system(passive: Passive, key: &str) -> Result<String> {
    let path = wstr!("\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Control");
    let options: WString = Key::open(passive, path)?.query_sz(TAG, wstr!("SystemStartOptions"))?;
    let options = options.try_to_string(TAG)?;
    let value = start_option(options.as_str(), key).ok_or(Status::OBJECT_NAME_NOT_FOUND)?;
    kexec::try_format!(TAG, "{key}{value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kexec::nt::sys::fake::{self, Value};

    const PARAMETERS: &str =
        "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\xenbus\\Parameters";
    const SERVICES: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services";
    const REQUEST: &str = "SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Request";
    const WRITTEN: &str =
        "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Request\\XENBUS";

    #[test]
    fn a_request_is_written_where_the_parameters_say() {
        let kernel = fake::boot();
        let passive = Passive::assert();
        let ask = || request(passive, wstr!(PARAMETERS), wstr!("XENBUS"));
        assert_eq!(ask(), Err(Status::OBJECT_NAME_NOT_FOUND));
        kernel.set_registry(SERVICES, "x", &Value::Dword(0));
        kernel.set_registry(PARAMETERS, "RequestKey", &Value::Sz(REQUEST.into()));
        assert_eq!(ask(), Ok(()));
        assert_eq!(ask(), Ok(()), "once more");
        let value = kernel.registry(WRITTEN, "Reboot");
        assert!(matches!(value, Some(Value::Dword(1))));
    }

    #[test]
    fn a_request_key_that_is_none_is_refused() {
        let kernel = fake::boot();
        let passive = Passive::assert();
        for path in ["", "\\\\", "NOTHING\\HERE"] {
            kernel.set_registry(PARAMETERS, "RequestKey", &Value::Sz(path.into()));
            assert!(request(passive, wstr!(PARAMETERS), wstr!("XENBUS")).is_err());
        }
        kernel.set_registry(PARAMETERS, "RequestKey", &Value::Sz(REQUEST.into()));
        for module in [wstr!(""), wstr!("A\\B")] {
            let result = request(passive, wstr!(PARAMETERS), module);
            assert_eq!(result, Err(Status::INVALID_PARAMETER));
        }
    }

    #[test]
    fn a_start_option_is_the_whole_token_or_absent() {
        let kernel = fake::boot();
        let passive = Passive::assert();
        let ask = |key| start_option_of_system(passive, key);
        assert!(ask("XEN:BALLOON=").is_err());
        let control = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Control";
        let text = " NOEXECUTE=OPTIN XEN:BALLOON=OFF XEN:WATCHDOG=60";
        kernel.set_registry(control, "SystemStartOptions", &Value::Sz(text.into()));
        let option = ask("XEN:BALLOON=").expect("there");
        assert_eq!(option.as_str(), "XEN:BALLOON=OFF");
        let absent = ask("XEN:DBG_PRINT=").map(drop);
        assert_eq!(absent, Err(Status::OBJECT_NAME_NOT_FOUND));
    }
}
