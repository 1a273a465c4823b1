// SPDX-License-Identifier: BSD-2-Clause
//! The package's own INFs: what they install is compared with the facts they have to keep.

use inf::{Data, Inf, Registry, Values, after_first_start, base_registry, install, stamp};

const XENBUS: &str = include_str!("../../../inf/xenbus.inf.in");
const SAMPLE: &str = include_str!("../../xensample/xensample.inf");
const SERVICES: &str = "\\Registry\\Machine\\System\\CurrentControlSet\\Services";
const SYSTEM_CLASS: &str = "\\Registry\\Machine\\System\\CurrentControlSet\\Control\\Class\\{4d36e97d-e325-11ce-bfc1-08002be10318}";
const HDC_CLASS: &str = "\\Registry\\Machine\\System\\CurrentControlSet\\Control\\Class\\{4d36e96a-e325-11ce-bfc1-08002be10318}";

fn values(device: &str, force: &str) -> Values {
    Values::from([
        ("DRIVER_DATE", "11/23/2026".to_owned()),
        ("DRIVER_VERSION", "10.0.0.7".to_owned()),
        ("VENDOR_NAME", "Xen Project".to_owned()),
        ("PRODUCT_NAME", "Xen".to_owned()),
        ("VENDOR_DEVICE_ID", device.to_owned()),
        ("FORCE_ACTIVATE", force.to_owned()),
    ])
}

fn installed(device: &str, force: &str) -> Registry {
    let text = stamp(XENBUS, &values(device, force)).expect("the template fills");
    let inf = Inf::parse(&text).expect("the INF parses");
    let mut registry = base_registry();
    install(&inf, &mut registry).expect("the INF installs");
    registry
}

fn list(items: &[&str]) -> Data {
    Data::MultiSz(items.iter().map(|&item| item.to_owned()).collect())
}

#[test]
fn both_services_start_at_boot_in_the_bus_extender_group() {
    let registry = installed("", "");
    for name in ["xenbus", "xenfilt"] {
        let key = format!("{SERVICES}\\{name}");
        assert_eq!(registry.get(&key, "Type"), Some(&Data::Dword(1)), "{name}");
        assert_eq!(registry.get(&key, "Start"), Some(&Data::Dword(0)), "{name}");
        assert_eq!(registry.get(&key, "ErrorControl"), Some(&Data::Dword(1)));
        assert_eq!(
            registry.get(&key, "Group"),
            Some(&Data::Sz("Boot Bus Extender".into()))
        );
        let image = format!("\\SystemRoot\\System32\\drivers\\{name}.sys");
        assert_eq!(
            registry.get(&key, "ImagePath"),
            Some(&Data::ExpandSz(image))
        );
    }
    assert_eq!(registry.get(&format!("{SERVICES}\\xen"), "ImagePath"), None);
}

#[test]
fn parameters_are_the_published_ones() {
    let registry = installed("", "");
    let xenbus = format!("{SERVICES}\\xenbus\\Parameters");
    assert_eq!(
        registry.get(&xenbus, "SupportedClasses"),
        Some(&list(&["VIF", "VBD", "VKBD", "IFACE", "CONS"]))
    );
    assert_eq!(
        registry.get(&xenbus, "SyntheticClasses"),
        Some(&list(&["IFACE", "CONS"]))
    );
    let xenfilt = format!("{SERVICES}\\xenfilt\\Parameters");
    assert_eq!(
        registry.get(&xenfilt, "*PNP0A03"),
        Some(&Data::Sz("PCI".into()))
    );
    assert_eq!(
        registry.get(&xenfilt, "Internal_IDE_Channel"),
        Some(&Data::Sz("IDE".into()))
    );
    for name in ["NICS", "DISKS"] {
        let unplug = format!("{SERVICES}\\XEN\\Unplug");
        assert_eq!(registry.get(&unplug, name), Some(&Data::Dword(0)));
    }
}

#[test]
fn every_device_id_leads_to_xenbus_and_asks_for_message_interrupts() {
    for (device, ids) in [
        ("", &["PCI#VEN_5853&DEV_0001", "PCI#VEN_5853&DEV_0002"][..]),
        (
            "C000",
            &[
                "PCI#VEN_5853&DEV_C000&SUBSYS_C0005853&REV_01",
                "PCI#VEN_5853&DEV_0002",
                "PCI#VEN_5853&DEV_0001",
            ][..],
        ),
    ] {
        let registry = installed(device, "");
        for id in ids {
            let key = format!("{}\\{id}", inf::DRIVER_DATABASE);
            assert_eq!(
                registry.get(&key, "Service"),
                Some(&Data::Sz("xenbus".into())),
                "{id}"
            );
            let msi = format!(
                "{key}\\Device Parameters\\Interrupt Management\\MessageSignaledInterruptProperties"
            );
            assert_eq!(registry.get(&msi, "MSISupported"), Some(&Data::Dword(1)));
        }
        let found = registry
            .to_string()
            .matches("\tService\tsz\txenbus")
            .count();
        assert_eq!(found, ids.len());
    }
}

#[test]
fn the_class_filter_comes_from_a_forced_package_or_from_the_first_start() {
    let mut plain = installed("", "");
    assert_eq!(plain.get(SYSTEM_CLASS, "UpperFilters"), None);
    after_first_start(&mut plain).unwrap();
    let forced = installed("C000", "1");
    for registry in [&plain, &forced] {
        for class in [SYSTEM_CLASS, HDC_CLASS] {
            assert_eq!(
                registry.get(class, "UpperFilters"),
                Some(&list(&["XENFILT"]))
            );
        }
    }
    let precedence = format!("{SERVICES}\\xenfilt\\Parameters\\Precedence");
    assert_eq!(
        forced.get(&precedence, "PCI\\VEN_5853&DEV_C000"),
        Some(&Data::Dword(0xC000))
    );
    assert_eq!(plain.get(&precedence, "PCI\\VEN_5853&DEV_0001"), None);
}

#[test]
fn the_sample_adds_its_class_to_what_the_package_installed() {
    let mut registry = installed("", "");
    install(&Inf::parse(SAMPLE).unwrap(), &mut registry).unwrap();
    assert_eq!(
        registry.get(
            &format!("{SERVICES}\\xenbus\\Parameters"),
            "SupportedClasses"
        ),
        Some(&list(&["VIF", "VBD", "VKBD", "IFACE", "CONS", "SAMPLE"]))
    );
    let key = format!(
        "{}\\XENBUS#VEN_XP0001&DEV_SAMPLE&REV_0900000C",
        inf::DRIVER_DATABASE
    );
    assert_eq!(
        registry.get(&key, "Service"),
        Some(&Data::Sz("xensample".into()))
    );
    assert!(!XENBUS.contains("SAMPLE"));
}

#[test]
fn a_machine_has_the_base_both_packages_and_the_filter() {
    let text = stamp(XENBUS, &values("", "")).unwrap();
    let machine = inf::machine(&[&text, SAMPLE], true).unwrap();
    assert_eq!(
        machine.get(SYSTEM_CLASS, "UpperFilters"),
        Some(&list(&["XENFILT"]))
    );
    let control = "\\Registry\\Machine\\System\\CurrentControlSet\\Control";
    assert!(machine.get(control, "SystemStartOptions").is_some());
    assert!(
        machine
            .get(&format!("{SERVICES}\\xensample"), "Start")
            .is_some()
    );
    let lines = machine.to_string();
    assert!(lines.lines().all(|line| match line.split_once('\t') {
        Some(("K", rest)) => rest.starts_with("\\Registry\\Machine\\"),
        Some(("V", rest)) => rest.split('\t').count() == 4,
        _ => false,
    }));
}

#[test]
fn what_is_not_understood_is_an_error() {
    let good = stamp(XENBUS, &values("", "")).unwrap();
    for (from, to, says) in [
        ("CopyFiles  ", "DelReg  ", "DelReg"),
        (
            "AddReg                  = XenBus_Parameters",
            "AddReg = Nowhere",
            "Nowhere",
        ),
        ("Inst, NTamd64", "Inst, NTx86", "NTamd64"),
        ("HKR, \"Parameters\"", "HKCU, \"Parameters\"", "HKCU"),
        ("0x00010000", "0x00010004", "flags"),
        ("StartType ", "StartWhen ", "StartWhen"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let error = install(&Inf::parse(&bad).unwrap(), &mut base_registry()).unwrap_err();
        assert!(error.what.contains(says), "{error}");
    }
}
