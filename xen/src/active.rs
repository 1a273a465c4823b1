// SPDX-License-Identifier: BSD-2-Clause
//! The active device: which of the platform devices drives the bus.
//!
//! Up to three PCI functions may match the package; exactly one drives the bus, and Windows must go on
//! believing that it never moved. The choice is three values below `Services\XENFILT\Parameters`, a key
//! that the INF makes: it is opened here, never created.
//!
//! A build with a vendor device of its own refuses the others ("legacy") as long as Windows knows that
//! device, be it a phantom. This tree's builds have none, so they refuse nothing; the rule is kept for
//! those who set `VENDOR_DEVICE_ID`.
//!
//! # IRQL
//! PASSIVE_LEVEL.

use kexec::nt::{Key, Tag, WStr, WString};
use kexec::{Passive, Result, Status, wstr};

const TAG: Tag = Tag(*b"XCFG");

/// Four hexadecimal digits of the vendor's PCI device id, if the build has one.
const VENDOR: Option<&str> = option_env!("VENDOR_DEVICE_ID");

/// What identifies a device.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Its device id, such as `PCI\VEN_5853&DEV_0001&...`.
    pub device: WStr<'a>,
    /// Its instance id.
    pub instance: WStr<'a>,
    /// Its location text.
    pub location: WStr<'a>,
}

const DEVICE: &str = "ActiveDeviceID";
const INSTANCE: &str = "ActiveInstanceID";
const LOCATION: &str = "ActiveLocationInformation";

fn parameters(passive: Passive) -> Result<Key> {
    let path = wstr!(r"\Registry\Machine\SYSTEM\CurrentControlSet\Services\XENFILT\Parameters");
    Key::open_rw(passive, path)
}

/// One recorded value: `DeviceID`, `InstanceID` or `LocationInformation`.
///
/// `STATUS_OBJECT_NAME_NOT_FOUND` when it is not recorded, which is normal.
pub fn get(passive: Passive, key: &[u8]) -> Result<WString> {
    let name = match key {
        b"DeviceID" => wstr!(DEVICE),
        b"InstanceID" => wstr!(INSTANCE),
        b"LocationInformation" => wstr!(LOCATION),
        _ => return Err(Status::INVALID_PARAMETER),
    };
    parameters(passive)?.query_sz(TAG, name)
}

/// Records a device as the active one. `STATUS_UNSUCCESSFUL`: a vendor device comes first.
pub fn set(passive: Passive, device: Device<'_>) -> Result {
    refuse_legacy(passive, device.device, VENDOR)?;
    let key = parameters(passive)?;
    key.set_sz(TAG, wstr!(DEVICE), device.device)?;
    key.set_sz(TAG, wstr!(INSTANCE), device.instance)?;
    key.set_sz(TAG, wstr!(LOCATION), device.location)
}

/// Fills in what an older installation did not record of the active device. The device id stays.
pub fn update(passive: Passive, device: Device<'_>) -> Result {
    refuse_legacy(passive, device.device, VENDOR)?;
    let key = parameters(passive)?;
    let fill = |name, text| match key.query_sz(TAG, name) {
        Err(Status::OBJECT_NAME_NOT_FOUND) => key.set_sz(TAG, name, text),
        // A value that is there but not a string is not ours to replace.
        other => other.map(drop),
    };
    fill(wstr!(INSTANCE), device.instance)?;
    fill(wstr!(LOCATION), device.location)
}

/// Forgets the device: its ids, not its location, which a later one of the same place keeps.
pub fn clear(passive: Passive) -> Result {
    let key = parameters(passive)?;
    let delete = |name| match key.delete_value(name) {
        Err(Status::OBJECT_NAME_NOT_FOUND) => Ok(()),
        other => other,
    };
    delete(wstr!(DEVICE))?;
    delete(wstr!(INSTANCE))
}

/// May a device that is not the vendor's drive the bus?
fn refuse_legacy(passive: Passive, device: WStr<'_>, vendor: Option<&str>) -> Result {
    let Some(vendor) = vendor else {
        return Ok(());
    };
    let own = kexec::try_format!(TAG, "PCI\\VEN_5853&DEV_{vendor}")?;
    let own = WString::try_from_str(TAG, own.as_str())?;
    let start = device.units().get(..own.units().len()).unwrap_or_default();
    if WStr::new(start).eq_ignore_ascii_case(own.as_wstr()) {
        return Ok(());
    }
    let known = kexec::try_format!(
        TAG,
        "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Enum\\PCI\\VEN_5853&DEV_{vendor}&SUBSYS_{vendor}5853&REV_01"
    )?;
    let known = WString::try_from_str(TAG, known.as_str())?;
    match Key::open(passive, known.as_wstr()) {
        Ok(_) => Err(Status::UNSUCCESSFUL),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use kexec::nt::sys::fake::{self, Session, Value};
    use std::string::String;

    const KEY: &str =
        "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\XENFILT\\Parameters";

    fn device() -> Device<'static> {
        Device {
            device: wstr!("PCI\\VEN_5853&DEV_0001&SUBSYS_00015853&REV_01"),
            instance: wstr!("3&267a616a&0&18"),
            location: wstr!("PCI bus 0, device 3, function 0"),
        }
    }

    fn recorded(kernel: &Session, name: &str) -> Option<String> {
        match kernel.registry(KEY, name)? {
            Value::Sz(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn without_the_key_nothing_is_recorded_and_none_is_created() {
        let kernel = fake::boot();
        let passive = Passive::assert();
        assert_eq!(set(passive, device()), Err(Status::OBJECT_NAME_NOT_FOUND));
        assert!(get(passive, b"DeviceID").is_err());
        assert!(kernel.registry(KEY, DEVICE).is_none());
    }

    #[test]
    fn a_device_is_recorded_read_and_forgotten_but_for_its_location() {
        let kernel = fake::boot();
        kernel.set_registry(KEY, "*PNP0A03", &Value::Sz("PCI".into()));
        let passive = Passive::assert();
        let absent = get(passive, b"DeviceID").map(drop);
        assert_eq!(absent, Err(Status::OBJECT_NAME_NOT_FOUND));
        assert_eq!(set(passive, device()), Ok(()));
        let id = get(passive, b"DeviceID").expect("recorded");
        assert!(id.as_wstr() == device().device);
        assert!(get(passive, b"InstanceID").is_ok());
        assert!(get(passive, b"LocationInformation").is_ok());
        let other = get(passive, b"Other").map(drop);
        assert_eq!(other, Err(Status::INVALID_PARAMETER));
        assert_eq!(clear(passive), Ok(()));
        assert_eq!(clear(passive), Ok(()), "a second time too");
        assert_eq!(recorded(&kernel, DEVICE), None);
        assert_eq!(recorded(&kernel, INSTANCE), None);
        assert!(recorded(&kernel, LOCATION).is_some());
    }

    #[test]
    fn an_update_fills_in_what_is_missing_and_changes_nothing_else() {
        let kernel = fake::boot();
        kernel.set_registry(KEY, DEVICE, &Value::Sz("old id".into()));
        kernel.set_registry(KEY, INSTANCE, &Value::Sz("old instance".into()));
        assert_eq!(update(Passive::assert(), device()), Ok(()));
        assert_eq!(recorded(&kernel, DEVICE).as_deref(), Some("old id"));
        assert_eq!(recorded(&kernel, INSTANCE).as_deref(), Some("old instance"));
        let location = recorded(&kernel, LOCATION);
        assert_eq!(location.as_deref(), Some("PCI bus 0, device 3, function 0"));
    }

    #[test]
    fn a_legacy_device_is_refused_only_while_the_vendors_is_known() {
        let kernel = fake::boot();
        let passive = Passive::assert();
        let legacy = device().device;
        let own = wstr!("pci\\ven_5853&dev_c000&SUBSYS_C0005853&REV_01");
        let short = wstr!("PCI");
        assert_eq!(refuse_legacy(passive, legacy, Some("C000")), Ok(()));
        let path = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Enum\\PCI\\VEN_5853&DEV_C000&SUBSYS_C0005853&REV_01";
        kernel.set_registry(path, "x", &Value::Dword(0));
        for (device, expected) in [
            (legacy, Err(Status::UNSUCCESSFUL)),
            (short, Err(Status::UNSUCCESSFUL)),
            (own, Ok(())),
        ] {
            assert_eq!(refuse_legacy(passive, device, Some("C000")), expected);
            assert_eq!(refuse_legacy(passive, device, None), Ok(()));
        }
    }
}
