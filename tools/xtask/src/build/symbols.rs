// SPDX-License-Identifier: BSD-2-Clause
//! Names of code addresses, from the linker's map file.

/// Symbols of one image, sorted by address.
#[derive(Default)]
pub(crate) struct Symbols {
    /// Offset from the image's base, and the name as the linker has it.
    list: Vec<(u32, String)>,
}

impl Symbols {
    /// Reads a map file: lines `0001:00000000  name  0000000180001000  object`.
    pub(crate) fn parse(map: &str, image_base: u64) -> Self {
        let mut list: Vec<_> = map
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let (section, offset) = words.next()?.split_once(':')?;
                u16::from_str_radix(section, 16).ok()?;
                u32::from_str_radix(offset, 16).ok()?;
                let name = words.next()?;
                let address = words.next().filter(|word| word.len() == 16)?;
                let address = u64::from_str_radix(address, 16).ok()?;
                Some((
                    u32::try_from(address.checked_sub(image_base)?).ok()?,
                    name.to_owned(),
                ))
            })
            .collect();
        list.sort();
        Self { list }
    }

    /// Every name, as the linker has it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|(_, name)| name.as_str())
    }

    /// The symbol at or before `rva`, readable, with the distance; the number itself if there is none.
    pub(crate) fn describe(&self, rva: u32) -> String {
        let index = self.list.partition_point(|&(start, _)| start <= rva);
        let Some((start, name)) = index.checked_sub(1).and_then(|index| self.list.get(index))
        else {
            return format!("{rva:#x}");
        };
        let name = format!("{:#}", rustc_demangle::demangle(name));
        if *start == rva {
            name
        } else {
            format!("{name}+{:#x}", rva - start)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_file_gives_names_to_addresses() {
        let map = " Start         Length     Name                   Class\n 0001:00000000 00000500H .text                   CODE\n\n  \
                   Address         Publics by Value              Rva+Base               Lib:Object\n\n \
                   0001:00000000       DriverEntry                0000000180001000     a.obj\n \
                   0001:00000020       _ZN5kexec4task3run17h0123456789abcdefE 0000000180001020     a.obj\n";
        let symbols = Symbols::parse(map, 0x1_8000_0000);
        assert_eq!(symbols.describe(0x1000), "DriverEntry");
        assert_eq!(symbols.describe(0x1024), "kexec::task::run+0x4");
        assert_eq!(symbols.describe(0x10), "0x10");
    }
}
