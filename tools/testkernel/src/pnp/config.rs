// SPDX-License-Identifier: BSD-2-Clause
//! PCI configuration space: the machine's own in an HVM guest, a made-up one in a PVH guest, which has no
//! PCI bus. The made-up function is what Xen's device model shows: `5853:0001` with an I/O BAR and a memory
//! BAR. Accesses work at any IRQL up to DISPATCH_LEVEL.

use alloc::vec::Vec;

use crate::arch;
use crate::sync::Lock;

/// The vendor id of the Xen platform device.
pub const XENSOURCE: u16 = 0x5853;
/// Size of a made-up memory BAR.
const BAR_LENGTH: u64 = 0x100_0000;
/// Slot of the made-up function, as the toolstack places it.
const SLOT: u8 = 2;

/// A PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Device number on bus 0.
    pub device: u8,
    /// Function number.
    pub function: u8,
    /// Whether configuration space is the made-up one.
    pub synthetic: bool,
}

/// A base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// I/O ports rather than memory.
    pub port: bool,
    /// May be read ahead.
    pub prefetchable: bool,
    /// The address.
    pub base: u64,
    /// Length in bytes.
    pub length: u64,
}

/// Guards the address and data ports of configuration space.
static PORTS: Lock<()> = Lock::new(());
static SYNTHETIC: Lock<[u8; 256]> = Lock::new([0; 256]);

fn fill_synthetic() {
    let base = crate::mm::unused_physical_range(BAR_LENGTH) as u32;
    let mut space = SYNTHETIC.lock();
    let mut put = |at: usize, bytes: &[u8]| space[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x00, &XENSOURCE.to_le_bytes());
    put(0x02, &1u16.to_le_bytes());
    put(0x04, &3u16.to_le_bytes());
    put(0x08, &[0x01, 0x00, 0x80, 0xFF]);
    put(0x10, &0xC001_u32.to_le_bytes());
    put(0x14, &(base | 8).to_le_bytes());
    put(0x2C, &XENSOURCE.to_le_bytes());
    put(0x2E, &1u16.to_le_bytes());
    put(0x3C, &[28, 1]);
}

/// The functions on the bus: at least the Xen platform device.
pub fn scan() -> Vec<Function> {
    const MULTIPLE: u32 = 0x80 << 16;
    let make = |device, function| Function {
        device,
        function,
        synthetic: false,
    };
    let there = |function: &Function| function.word(0) != 0xFFFF;
    let mut real = Vec::new();
    for first in (0..32).map(|device| make(device, 0)).filter(there) {
        let last = if first.dword(0xC) & MULTIPLE != 0 {
            7
        } else {
            0
        };
        real.push(first);
        real.extend(
            (1..=last)
                .map(|function| make(first.device, function))
                .filter(there),
        );
    }
    if real.iter().any(|function| function.word(0) == XENSOURCE) {
        return real;
    }
    fill_synthetic();
    alloc::vec![Function {
        device: SLOT,
        function: 0,
        synthetic: true
    }]
}

impl Function {
    fn register(self, offset: u8) -> u32 {
        let _ports = PORTS.lock();
        arch::pci_read(0, self.device, self.function, offset)
    }

    fn set_register(self, offset: u8, value: u32) {
        let _ports = PORTS.lock();
        arch::pci_write(0, self.device, self.function, offset, value);
    }

    /// Reads bytes; what lies past the end reads as ones.
    pub fn read(self, offset: usize, out: &mut [u8]) {
        for (index, byte) in out.iter_mut().enumerate() {
            let at = offset + index;
            *byte = match (at, self.synthetic) {
                (256.., _) => 0xFF,
                (_, true) => SYNTHETIC.lock()[at],
                (_, false) => self.register((at & !3) as u8).to_le_bytes()[at & 3],
            };
        }
    }

    /// Writes bytes; the read-only ones of a made-up function stay.
    pub fn write(self, offset: usize, data: &[u8]) {
        for (index, byte) in data.iter().enumerate() {
            let at = offset + index;
            if at >= 256 {
                return;
            }
            if self.synthetic {
                // The command register and the interrupt line.
                if matches!(at, 4 | 5 | 0x3C) {
                    SYNTHETIC.lock()[at] = *byte;
                }
                continue;
            }
            let register = (at & !3) as u8;
            let mut bytes = self.register(register).to_le_bytes();
            bytes[at & 3] = *byte;
            self.set_register(register, u32::from_le_bytes(bytes));
        }
    }

    /// Reads a 16-bit register.
    pub fn word(self, offset: usize) -> u16 {
        let mut bytes = [0; 2];
        self.read(offset, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// Reads a 32-bit register.
    pub fn dword(self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Finds the length of a BAR the way a bus driver does: write ones, read back.
    fn probe(self, offset: usize) -> u32 {
        let register = offset as u8;
        let old = self.register(register);
        self.set_register(register, u32::MAX);
        let mask = self.register(register);
        self.set_register(register, old);
        mask
    }

    /// The base address registers in use.
    pub fn bars(self) -> Vec<Bar> {
        let mut bars = Vec::new();
        let mut index = 0;
        while index < 6 {
            let offset = 0x10 + 4 * index;
            index += 1;
            let low = self.dword(offset);
            let port = low & 1 != 0;
            let wide = !port && low & 6 == 4;
            let bits: u32 = if port { 3 } else { 0xF };
            let mask = match (self.synthetic, port) {
                (true, true) => !0xFF,
                (true, false) => !(BAR_LENGTH as u32 - 1),
                (false, _) => self.probe(offset),
            };
            let high = if wide {
                u64::from(self.dword(offset + 4))
            } else {
                0
            };
            index += usize::from(wide);
            if low & !bits == 0 || mask & !bits == 0 {
                continue;
            }
            bars.push(Bar {
                port,
                prefetchable: !port && low & 8 != 0,
                base: high << 32 | u64::from(low & !bits),
                length: u64::from((!(mask & !bits)).wrapping_add(1)),
            });
        }
        bars
    }

    /// The global interrupt of the function's pin, as Xen routes it; `None` without a pin.
    pub fn gsi(self) -> Option<u32> {
        let mut pin = [0];
        self.read(0x3D, &mut pin);
        let pin = u32::from(pin[0].checked_sub(1)?);
        let device = u32::from(self.device);
        Some(16 + (((device << 2) + (device >> 3) + pin) & 31))
    }
}
