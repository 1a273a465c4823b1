// SPDX-License-Identifier: BSD-2-Clause
//! The ACPI MADT: which ACPI processor id has a given APIC id.
//!
//! Xen numbers a vCPU by the processor id of its MADT record; dividing the APIC id by two is right on
//! common builds only. Firmware wrote the table, so no length in it is trusted.
//!
//! # IRQL
//! Any.

/// Header of every ACPI table: signature, length, and more that does not matter here.
const HEADER: usize = 36;
/// Where the MADT's records begin: the header, the local APIC's address, flags.
const RECORDS: usize = 44;

const LOCAL_APIC: u8 = 0;
const LOCAL_X2APIC: u8 = 9;

/// The records of a table, as (type, body behind type and length); ends at the first bad length.
fn records(table: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = body(table).unwrap_or(&[]);
    core::iter::from_fn(move || {
        let [kind, length, ..] = *rest else {
            return None;
        };
        let record = rest.get(..usize::from(length))?;
        rest = &rest[usize::from(length)..];
        // A length below 2 would not get any further.
        Some((kind, record.get(2..)?))
    })
}

/// The records' bytes, within both the table's own length and the memory at hand.
fn body(table: &[u8]) -> Option<&[u8]> {
    if table.get(..4)? != b"APIC" {
        return None;
    }
    let length = u32::from_le_bytes(table.get(4..8)?.try_into().ok()?) as usize;
    if length < HEADER {
        return None;
    }
    table.get(..length)?.get(RECORDS..)
}

/// The ACPI processor id of the record whose APIC id is `apic_id`.
///
/// A processor is listed whether it is enabled or not, so the flag is not looked at.
pub fn processor_id(table: &[u8], apic_id: u32) -> Option<u32> {
    let word =
        |bytes: &[u8], at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    records(table).find_map(|(kind, body)| match kind {
        LOCAL_APIC => {
            let (processor, apic) = (*body.first()?, *body.get(1)?);
            (u32::from(apic) == apic_id).then_some(u32::from(processor))
        }
        LOCAL_X2APIC => {
            let (apic, processor) = (word(body, 2)?, word(body, 10)?);
            (apic == apic_id).then_some(processor)
        }
        _ => None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// A table with these records.
    pub(crate) fn table(records: &[&[u8]]) -> Vec<u8> {
        let body = records.concat();
        let mut table = vec![0; RECORDS];
        table[..4].copy_from_slice(b"APIC");
        table[4..8].copy_from_slice(&((RECORDS + body.len()) as u32).to_le_bytes());
        table.extend(body);
        table
    }

    pub(crate) fn local(processor: u8, apic: u8) -> [u8; 8] {
        [0, 8, processor, apic, 1, 0, 0, 0]
    }

    fn x2apic(processor: u8, apic: u16) -> [u8; 16] {
        let [low, high] = apic.to_le_bytes();
        [9, 16, 0, 0, low, high, 0, 0, 1, 0, 0, 0, processor, 0, 0, 0]
    }

    #[test]
    fn the_processor_id_comes_from_the_record_with_the_apic_id() {
        let io_apic = [1, 12, 1, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];
        let table = table(&[&local(0, 0), &io_apic, &local(1, 2), &x2apic(7, 0x101)]);
        assert_eq!(processor_id(&table, 2), Some(1));
        assert_eq!(processor_id(&table, 0x101), Some(7));
        assert_eq!(processor_id(&table, 1), None);
    }

    #[test]
    fn a_disabled_processor_is_found_too() {
        let mut record = local(3, 6);
        record[4] = 0;
        assert_eq!(processor_id(&table(&[&record]), 6), Some(3));
    }

    #[test]
    fn a_record_with_a_bad_length_ends_the_walk() {
        for bad in [[0, 0], [0, 1], [0, 200]] {
            let table = table(&[&local(0, 0), &bad, &local(1, 2)]);
            assert_eq!(processor_id(&table, 0), Some(0), "{bad:?}");
            assert_eq!(processor_id(&table, 2), None, "{bad:?}");
        }
    }

    #[test]
    fn a_record_too_short_for_its_type_is_skipped() {
        let short = [0, 3, 5];
        let half = [9, 8, 0, 0, 2, 0, 0, 0];
        let table = table(&[&short, &half, &local(1, 2)]);
        assert_eq!(processor_id(&table, 2), Some(1));
    }

    #[test]
    fn a_table_that_is_cut_or_lies_about_its_length_has_no_records() {
        let whole = table(&[&local(0, 0)]);
        for length in 0..whole.len() {
            assert_eq!(processor_id(&whole[..length], 0), None, "{length}");
        }
        for length in [0_u32, 35, 43, u32::MAX] {
            let mut table = whole.clone();
            table[4..8].copy_from_slice(&length.to_le_bytes());
            assert_eq!(processor_id(&table, 0), None, "{length}");
        }
        let mut other = whole;
        other[0] = b'X';
        assert_eq!(processor_id(&other, 0), None);
    }
}
