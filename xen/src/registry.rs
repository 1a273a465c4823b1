// SPDX-License-Identifier: BSD-2-Clause
//! Keys and values below the service key, read once at load.
//!
//! The service key exists although xen.sys has no service: the INF puts `Unplug` there. Missing keys
//! are created one component at a time, as the kernel wants it. Nothing here is fatal: a value that
//! cannot be read has its default.
//!
//! # IRQL
//! PASSIVE_LEVEL.

use kexec::nt::{Key, Tag, WStr};
use kexec::{Passive, Result, Status, wstr};
use xenbus_interface::xen::LogLevel;

use crate::reboot::start_option_of_system;
use crate::unplug::latch;
use xenbus_interface::xen::log_levels;

/// Tag of what is read.
const TAG: Tag = Tag(*b"XREG");
/// Subkeys looked at while searching for child devices.
const CHILDREN_MAX: u32 = 256;

/// Xen's console gets what matters most only: each byte traps.
pub const CONSOLE_LEVELS: u32 = LogLevel::Critical as u32;
/// The device model's log gets all but traces.
pub const MODEL_LEVELS: u32 = LogLevel::Info as u32
    | LogLevel::Warning as u32
    | LogLevel::Error as u32
    | LogLevel::Critical as u32;

/// What the registry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Levels for Xen's console.
    pub console_levels: u32,
    /// Levels for the device model's log.
    pub model_levels: u32,
    /// Unplug emulated disks at this boot.
    pub unplug_disks: bool,
    /// Unplug emulated network cards at this boot.
    pub unplug_nics: bool,
    /// Keep the first emulated disk all the same.
    pub boot_emulated: bool,
    /// Give processors their own event state: always, never, or as their number asks for.
    pub register_vcpu_info: Option<u32>,
    /// The machine's clock shows universal time.
    pub universal_time: bool,
    /// Capture what other drivers print.
    pub capture_prints: bool,
}

impl Settings {
    /// What holds when there is nothing to read.
    pub const DEFAULT: Self = Self {
        console_levels: CONSOLE_LEVELS,
        model_levels: MODEL_LEVELS,
        unplug_disks: false,
        unplug_nics: false,
        boot_emulated: false,
        register_vcpu_info: None,
        universal_time: false,
        capture_prints: true,
    };

    /// Reads the settings, creates the keys, and consumes the unplug requests.
    pub fn load(passive: Passive, service: WStr<'_>) -> Self {
        let mut settings = Self {
            boot_emulated: option_is(passive, "XEN:BOOT_EMULATED=", "TRUE"),
            capture_prints: !option_is(passive, "XEN:DBG_PRINT=", "OFF"),
            universal_time: universal_time(passive),
            ..Self::DEFAULT
        };
        if let Err(status) = settings.load_service(passive, service) {
            kexec::warn!("xen: no service key, defaults are used, {status}");
        }
        settings
    }

    fn load_service(&mut self, passive: Passive, path: WStr<'_>) -> Result {
        let service = service_key(passive, path)?;
        let parameters = service.create_sub(wstr!("Parameters"), false)?;
        levels(&parameters, wstr!("XenLogLevel"), &mut self.console_levels);
        levels(&parameters, wstr!("QemuLogLevel"), &mut self.model_levels);
        self.register_vcpu_info = parameters.query_dword(wstr!("RegisterVcpuInfo")).ok();
        let unplug = service.create_sub(wstr!("Unplug"), false)?;
        let force = service.create_sub(wstr!("ForceUnplug"), false)?;
        // Pages that outlive the driver are found again here.
        service.create_sub(wstr!("Memory"), true)?;
        let request = |name: WStr<'_>, class: &str| -> Result<bool> {
            let forced = force.query_dword(name).ok();
            let latched = latch(forced, unplug.query_dword(name).ok(), || {
                has_child(passive, class)
            });
            if latched.consume {
                unplug.delete_value(name)?;
            }
            Ok(latched.request)
        };
        self.unplug_disks = request(wstr!("DISKS"), "VBD")?;
        self.unplug_nics = request(wstr!("NICS"), "VIF")?;
        Ok(())
    }
}

/// Opens the service key, or creates it in its parent.
fn service_key(passive: Passive, path: WStr<'_>) -> Result<Key> {
    if let Ok(key) = Key::open_rw(passive, path) {
        return Ok(key);
    }
    let units = path.units();
    let slash = units.iter().rposition(|unit| *unit == u16::from(b'\\'));
    let slash = slash.ok_or(Status::OBJECT_NAME_INVALID)?;
    let parent = Key::open_rw(passive, WStr::new(&units[..slash]))?;
    parent.create_sub(WStr::new(&units[slash + 1..]), false)
}

/// Replaces a mask of levels by that of a list of names, if there is one.
fn levels(parameters: &Key, name: WStr<'_>, mask: &mut u32) {
    let Ok(list) = parameters.query_multi_sz(TAG, name) else {
        return;
    };
    *mask = list.iter().fold(0, |mask, name| {
        let name = name.try_to_string(TAG);
        mask | name.map_or(0, |name| log_levels([name.as_str()].into_iter()))
    });
}

/// Is a child of this class known to Windows? In doubt no: then the emulated device stays.
fn has_child(passive: Passive, class: &str) -> bool {
    let path = wstr!("\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Enum\\XENBUS");
    let Ok(children) = Key::open(passive, path) else {
        return false;
    };
    (0..CHILDREN_MAX)
        .map_while(|index| children.sub_name(TAG, index).ok())
        .filter_map(|name| name.try_to_string(TAG).ok())
        .any(|name| name.contains(class))
}

/// Is this start option set to this value? The absence of all options is normal.
fn option_is(passive: Passive, key: &str, value: &str) -> bool {
    start_option_of_system(passive, key)
        .is_ok_and(|option| option.as_str().strip_prefix(key) == Some(value))
}

/// `RealTimeIsUniversal`, a REG_DWORD by the book and a REG_QWORD by some hands. Its absence is normal.
fn universal_time(passive: Passive) -> bool {
    const DWORD: u32 = 4;
    const QWORD: u32 = 11;
    let path =
        wstr!("\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Control\\TimeZoneInformation");
    let value =
        Key::open(passive, path).and_then(|key| key.query(TAG, wstr!("RealTimeIsUniversal")));
    match value {
        Ok((DWORD, data)) if data.len() == 4 => data.iter().any(|byte| *byte != 0),
        Ok((QWORD, data)) if data.len() == 8 => data.iter().any(|byte| *byte != 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use kexec::nt::sys::fake::{self, Session, Value};
    use std::vec;

    const SERVICES: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services";
    const SERVICE: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\xen";
    const ENUM: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Enum\\XENBUS";
    const CONTROL: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Control";

    fn load() -> Settings {
        Settings::load(Passive::assert(), wstr!(SERVICE))
    }

    fn set(kernel: &Session, key: &str, name: &str, value: Value) {
        kernel.set_registry(key, name, &value);
    }

    fn below(key: &str) -> std::string::String {
        std::format!("{SERVICE}\\{key}")
    }

    #[test]
    fn without_any_key_everything_has_its_default() {
        let _kernel = fake::boot();
        assert_eq!(load(), Settings::DEFAULT);
    }

    #[test]
    fn missing_keys_are_created_below_the_services() {
        let kernel = fake::boot();
        set(&kernel, SERVICES, "x", Value::Dword(0));
        assert_eq!(load(), Settings::DEFAULT);
        let passive = Passive::assert();
        let service = Key::open(passive, wstr!(SERVICE)).expect("created");
        for name in [
            wstr!("Parameters"),
            wstr!("Unplug"),
            wstr!("ForceUnplug"),
            wstr!("Memory"),
        ] {
            assert!(service.open_sub(name).is_ok());
        }
    }

    #[test]
    fn a_list_of_levels_replaces_the_default_and_another_type_does_not() {
        let kernel = fake::boot();
        let list = Value::MultiSz(vec!["info".into(), "ERROR".into()]);
        set(&kernel, &below("Parameters"), "XenLogLevel", list);
        let wrong = Value::Dword(3);
        set(&kernel, &below("Parameters"), "QemuLogLevel", wrong);
        let settings = load();
        assert_eq!(settings.console_levels, 9);
        assert_eq!(settings.model_levels, MODEL_LEVELS);
    }

    #[test]
    fn a_request_is_consumed_and_needs_a_child_of_its_class() {
        let kernel = fake::boot();
        set(&kernel, &below("Unplug"), "DISKS", Value::Dword(1));
        set(&kernel, &below("Unplug"), "NICS", Value::Dword(1));
        let child = std::format!("{ENUM}\\VEN_XP&DEV_VBD");
        set(&kernel, &child, "x", Value::Dword(0));
        let settings = load();
        assert!(settings.unplug_disks);
        assert!(!settings.unplug_nics, "there is no VIF");
        for name in ["DISKS", "NICS"] {
            assert!(kernel.registry(&below("Unplug"), name).is_none());
        }
        assert!(!load().unplug_disks, "the request was used twice");
    }

    #[test]
    fn a_forced_request_stays_and_needs_no_child() {
        let kernel = fake::boot();
        set(&kernel, &below("ForceUnplug"), "NICS", Value::Dword(1));
        assert!(load().unplug_nics);
        assert!(load().unplug_nics);
    }

    #[test]
    fn the_start_option_keeps_the_emulated_disk() {
        let kernel = fake::boot();
        for (options, expected) in [
            (" NOEXECUTE=OPTIN  XEN:BOOT_EMULATED=TRUE", true),
            ("XEN:BOOT_EMULATED=true", false),
        ] {
            let value = Value::Sz(options.into());
            set(&kernel, CONTROL, "SystemStartOptions", value);
            assert_eq!(load().boot_emulated, expected, "{options}");
        }
    }

    #[test]
    fn prints_are_captured_unless_an_option_says_off() {
        let kernel = fake::boot();
        for (options, expected) in [("XEN:DBG_PRINT=OFF", false), ("XEN:DBG_PRINT=off", true)] {
            let value = Value::Sz(options.into());
            set(&kernel, CONTROL, "SystemStartOptions", value);
            assert_eq!(load().capture_prints, expected, "{options}");
        }
    }

    #[test]
    fn the_clock_is_universal_by_a_number_of_either_size() {
        let kernel = fake::boot();
        let key = std::format!("{CONTROL}\\TimeZoneInformation");
        assert!(!load().universal_time);
        for (value, expected) in [
            (Value::Dword(1), true),
            (Value::Dword(0), false),
            (Value::Raw(11, vec![0, 0, 0, 0, 1, 0, 0, 0]), true),
            (Value::Raw(11, vec![1]), false),
            (Value::Sz("1".into()), false),
        ] {
            set(&kernel, &key, "RealTimeIsUniversal", value);
            assert_eq!(load().universal_time, expected);
        }
    }

    #[test]
    fn registration_of_event_state_is_a_number_or_left_to_the_processors() {
        let kernel = fake::boot();
        assert_eq!(load().register_vcpu_info, None);
        set(
            &kernel,
            &below("Parameters"),
            "RegisterVcpuInfo",
            Value::Dword(0),
        );
        assert_eq!(load().register_vcpu_info, Some(0));
    }

    #[test]
    fn every_failing_allocation_leaves_a_loadable_driver() {
        for n in 0.. {
            let kernel = fake::boot();
            set(&kernel, &below("Unplug"), "DISKS", Value::Dword(1));
            let list = Value::MultiSz(vec!["INFO".into()]);
            set(&kernel, &below("Parameters"), "XenLogLevel", list);
            kernel.fail_alloc(Some(n));
            let settings = load();
            assert!(!settings.unplug_disks);
            if kernel.fail_pending() {
                assert!(n > 5, "only {n} allocations");
                break;
            }
        }
    }
}
