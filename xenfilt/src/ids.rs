// SPDX-License-Identifier: BSD-2-Clause
//! Which stacks the filter joins: a device's ids looked up among the driver's parameters.
//!
//! A value of the Parameters key is named exactly like an id (names ignore case, as all registry names
//! do) and its data says what the bus carries. The hardware ids are tried first; the compatible ids only
//! when those name nothing, because a PCI Express root has the id of a PCI root among its compatible ones.
//! Data that says nothing to us, as an older package may have left it, does not end the search.
//!
//! Runs at PASSIVE_LEVEL in AddDevice; owns nothing.

/// What the children of a bus are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// PCI functions.
    Pci,
    /// Disks of an IDE channel.
    Ide,
}

impl Bus {
    /// Reads a parameter's data.
    ///
    /// As many characters are compared as the data has, so that a shortened word still means its bus and
    /// the empty one means PCI; installed systems may rely on it.
    #[must_use]
    pub fn parse(data: &[u16]) -> Option<Self> {
        if begins("PCI", data) {
            Some(Self::Pci)
        } else if begins("IDE", data) {
            Some(Self::Ide)
        } else {
            None
        }
    }
}

/// The two lists of ids that a device answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// BusQueryHardwareIDs.
    Hardware,
    /// BusQueryCompatibleIDs.
    Compatible,
}

/// Finds the bus of a device: `visit` calls its function with each id of a list, in order, until that
/// returns `true`, and does nothing when the device has no such list; `parameter` is the bus that the
/// parameter of that name means.
pub fn find(
    mut visit: impl FnMut(List, &mut dyn FnMut(&[u16]) -> bool),
    mut parameter: impl FnMut(&[u16]) -> Option<Bus>,
) -> Option<Bus> {
    [List::Hardware, List::Compatible]
        .into_iter()
        .find_map(|list| {
            let mut found = None;
            visit(list, &mut |id| {
                found = parameter(id);
                found.is_some()
            });
            found
        })
}

/// Splits a list as PnP hands it out: strings that end in NUL, and an empty one as the end. A list that
/// breaks off is read as far as it goes.
pub fn split(list: &[u16]) -> impl Iterator<Item = &[u16]> {
    list.split(|&unit| unit == 0)
        .take_while(|id| !id.is_empty())
}

fn begins(word: &str, data: &[u16]) -> bool {
    data.len() <= word.len()
        && word.bytes().zip(data).all(|(byte, &unit)| {
            u8::try_from(unit).is_ok_and(|unit| unit.eq_ignore_ascii_case(&byte))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::String, vec::Vec};

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    /// The stock parameters with what an 8.x package left behind.
    const STOCK: &[(&str, &str)] = &[
        ("*PNP0A03", "PCI"),
        ("Internal_IDE_Channel", "IDE"),
        ("ACPI\\PNP0A03", "DEVICE"),
        ("PCIIDE\\IDEChannel", "DISK"),
    ];

    /// Looks a device up; `None` for a list stands for a query that failed.
    fn bus_of(
        parameters: &[(&str, &str)],
        hardware: Option<&str>,
        compatible: Option<&str>,
    ) -> (Option<Bus>, Vec<String>) {
        let mut asked = Vec::new();
        let found = find(
            |list, each| {
                let text = match list {
                    List::Hardware => hardware,
                    List::Compatible => compatible,
                };
                let Some(text) = text else { return };
                split(&wide(text)).any(each);
            },
            |id| {
                let id = String::from_utf16(id).expect("test ids are text");
                asked.push(id.clone());
                let (_, data) = parameters
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(&id))?;
                Bus::parse(&wide(data))
            },
        );
        (found, asked)
    }

    #[test]
    fn a_pci_root_is_found_by_its_hardware_id_past_a_stale_parameter() {
        let (bus, asked) = bus_of(STOCK, Some("ACPI\\PNP0A03\0*PNP0A03\0\0"), None);
        assert_eq!(bus, Some(Bus::Pci));
        assert_eq!(asked, ["ACPI\\PNP0A03", "*PNP0A03"]);
    }

    #[test]
    fn a_pci_express_root_is_found_by_its_compatible_id() {
        let (bus, asked) = bus_of(
            STOCK,
            Some("ACPI\\PNP0A08\0*PNP0A08\0\0"),
            Some("*PNP0A03\0\0"),
        );
        assert_eq!(bus, Some(Bus::Pci));
        assert_eq!(asked.len(), 3);
    }

    #[test]
    fn compatible_ids_are_not_asked_for_when_a_hardware_id_says_it() {
        let (bus, asked) = bus_of(
            STOCK,
            Some("Intel-PIIX3\0Internal_IDE_Channel\0\0"),
            Some("*PNP0A03\0\0"),
        );
        assert_eq!(bus, Some(Bus::Ide));
        assert_eq!(asked.len(), 2);
    }

    #[test]
    fn a_failed_hardware_query_still_tries_the_compatible_ids() {
        assert_eq!(bus_of(STOCK, None, Some("*PNP0A03\0\0")).0, Some(Bus::Pci));
        assert_eq!(bus_of(STOCK, None, None).0, None);
    }

    #[test]
    fn other_stacks_are_left_alone() {
        let (bus, _) = bus_of(
            STOCK,
            Some("PCI\\VEN_8086&DEV_7010\0\0"),
            Some("PCI\\CC_0101\0\0"),
        );
        assert_eq!(bus, None);
    }

    #[test]
    fn only_whole_ids_match() {
        assert_eq!(bus_of(STOCK, Some("*PNP0A031\0*PNP0A0\0\0"), None).0, None);
        assert_eq!(bus_of(STOCK, Some("*pnp0a03\0\0"), None).0, Some(Bus::Pci));
    }

    #[test]
    fn data_is_compared_as_far_as_it_goes() {
        for (data, bus) in [
            ("PCI", Some(Bus::Pci)),
            ("pci", Some(Bus::Pci)),
            ("PC", Some(Bus::Pci)),
            ("", Some(Bus::Pci)),
            ("i", Some(Bus::Ide)),
            ("PCIX", None),
            ("DEVICE", None),
            ("\u{150}CI", None),
        ] {
            assert_eq!(Bus::parse(&wide(data)), bus, "{data}");
        }
    }

    #[test]
    fn an_empty_or_cut_list_is_read_as_far_as_it_goes() {
        let count = |text: &str| split(&wide(text)).count();
        assert_eq!(count(""), 0);
        assert_eq!(count("\0"), 0);
        assert_eq!(count("\0\0a\0\0"), 0);
        assert_eq!(count("a\0b"), 2);
        assert_eq!(count("a\0b\0\0c\0"), 2);
    }
}
