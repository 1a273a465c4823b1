// SPDX-License-Identifier: BSD-2-Clause
//! What a guest looks like, as a configuration of `xl`.

use std::fmt::Write;

/// A guest to create.
#[derive(Debug, Clone)]
pub struct GuestConfig {
    /// Its name in `xl list`.
    pub name: String,
    /// Its image: an ELF file with a PVH entry note, or a Linux kernel.
    pub image: Vec<u8>,
    /// The initial RAM disk of a Linux kernel; empty: none.
    pub ramdisk: Vec<u8>,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// An HVM guest with a device model (and the Xen platform device) instead of a PVH guest; the image takes the
    /// place of the firmware. Needs [`RigConfig::hvm`](crate::RigConfig::hvm).
    pub hvm: bool,
    /// Command line; a PVH guest alone can have one.
    pub cmdline: String,
    /// Leaves it paused until [`Rig::unpause`](crate::Rig::unpause).
    pub paused: bool,
    /// More lines for the configuration.
    pub extra: Vec<String>,
}

impl GuestConfig {
    /// A PVH guest named `guest` with one CPU and 128 MiB that runs `image` at once.
    pub fn new(image: impl Into<Vec<u8>>) -> Self {
        Self {
            name: "guest".into(),
            image: image.into(),
            ramdisk: Vec::new(),
            vcpus: 1,
            memory_mib: 128,
            hvm: false,
            cmdline: String::new(),
            paused: false,
            extra: Vec::new(),
        }
    }

    /// The text of the configuration file; the image is `image` in dom0, the RAM disk `ramdisk`.
    pub(crate) fn text(&self, image: &str, ramdisk: &str) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}={value}");
        };
        let quoted = |s: &str| format!("\"{s}\"");
        line("name", &quoted(&self.name));
        line("memory", &self.memory_mib.to_string());
        line("vcpus", &self.vcpus.to_string());
        if self.hvm {
            line("type", "\"hvm\"");
            line("firmware_override", &quoted(image));
            line("xen_platform_pci", "1");
            line("vga", "\"none\"");
            line("nographic", "1");
        } else {
            line("type", "\"pvh\"");
            line("kernel", &quoted(image));
            if !self.ramdisk.is_empty() {
                line("ramdisk", &quoted(ramdisk));
            }
            if !self.cmdline.is_empty() {
                line("extra", &quoted(&self.cmdline));
            }
        }
        // Emulated TSC reads go wrong under QEMU's emulation.
        line("tsc_mode", "\"native\"");
        for event in ["on_poweroff", "on_crash", "on_reboot"] {
            line(event, "\"preserve\"");
        }
        for extra in &self.extra {
            text.push_str(extra);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hvm_guest_gets_its_image_as_firmware_and_a_platform_device() {
        let mut config = GuestConfig::new(Vec::new());
        let text = config.text("/job/g", "/job/r");
        assert!(text.contains("kernel=\"/job/g\"\n") && !text.contains("ramdisk"));
        config.ramdisk = vec![0];
        let text = config.text("/job/g", "/job/r");
        assert!(text.contains("ramdisk=\"/job/r\"\n"));
        config.hvm = true;
        let text = config.text("/job/g", "/job/r");
        assert!(text.contains("firmware_override=\"/job/g\"\n"));
        assert!(text.contains("xen_platform_pci=1\n"));
        assert!(!text.contains("kernel="));
    }
}
