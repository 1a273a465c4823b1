// SPDX-License-Identifier: BSD-2-Clause
//! [`Key`]: an open registry key. PASSIVE_LEVEL throughout; handles are kernel handles, closed on drop.
#![expect(unsafe_code, reason = "passes buffers and names to the kernel")]

use core::fmt;

use super::sys::{self, HANDLE, OBJECT_ATTRIBUTES, PVOID, UNICODE_STRING};
use super::{Tag, Vec, WStr, WString};
use crate::{Passive, Result, Status};

const REG_SZ: u32 = 1;
const REG_EXPAND_SZ: u32 = 2;
const REG_BINARY: u32 = 3;
const REG_DWORD: u32 = 4;
const REG_MULTI_SZ: u32 = 7;
/// OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE.
const ATTRIBUTES: u32 = 0x240;
const KEY_READ: u32 = 0x2_0019;
const KEY_ALL_ACCESS: u32 = 0xF_003F;
const VALUE_PARTIAL: u32 = 2;
const HEADER: usize = 12;

pub(super) fn attributes(
    name: Option<&mut UNICODE_STRING>,
    root: HANDLE,
    security: PVOID,
) -> OBJECT_ATTRIBUTES {
    OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: root,
        ObjectName: name.map_or(core::ptr::null_mut(), core::ptr::from_mut),
        Attributes: ATTRIBUTES,
        SecurityDescriptor: security,
        SecurityQualityOfService: core::ptr::null_mut(),
    }
}

/// An open registry key.
///
/// # IRQL
/// PASSIVE_LEVEL, checked when it is opened; a `Key` is not `Send`.
pub struct Key {
    handle: HANDLE,
    level: Passive,
}

impl Key {
    fn open_at(level: Passive, root: HANDLE, name: WStr<'_>, access: u32) -> Result<Self> {
        let mut name = name.raw();
        let mut attributes = attributes(Some(&mut name), root, core::ptr::null_mut());
        let mut handle = core::ptr::null_mut();
        // SAFETY: PASSIVE_LEVEL (token); attributes and name live across the call.
        Status::check(unsafe { sys::ZwOpenKey(&mut handle, access, &mut attributes) })?;
        Ok(Self { handle, level })
    }

    fn create_at(level: Passive, root: HANDLE, name: WStr<'_>, volatile: bool) -> Result<Self> {
        let mut name = name.raw();
        let mut attributes = attributes(Some(&mut name), root, core::ptr::null_mut());
        let mut handle = core::ptr::null_mut();
        let none = core::ptr::null_mut();
        let options = u32::from(volatile);
        // SAFETY: PASSIVE_LEVEL (token); attributes and name live across the call.
        let status = unsafe {
            sys::ZwCreateKey(
                &mut handle,
                KEY_ALL_ACCESS,
                &mut attributes,
                0,
                none,
                options,
                core::ptr::null_mut(),
            )
        };
        Status::check(status)?;
        Ok(Self { handle, level })
    }

    /// Opens an absolute path for reading.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(level: Passive, path: WStr<'_>) -> Result<Self> {
        Self::open_at(level, core::ptr::null_mut(), path, KEY_READ)
    }

    /// Opens an absolute path for reading and writing.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open_rw(level: Passive, path: WStr<'_>) -> Result<Self> {
        Self::open_at(level, core::ptr::null_mut(), path, KEY_ALL_ACCESS)
    }

    /// Opens a key below this one for reading.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open_sub(&self, path: WStr<'_>) -> Result<Self> {
        Self::open_at(self.level, self.handle, path, KEY_READ)
    }

    /// Opens a key below this one for reading and writing.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open_sub_rw(&self, path: WStr<'_>) -> Result<Self> {
        Self::open_at(self.level, self.handle, path, KEY_ALL_ACCESS)
    }

    /// Opens or creates one key directly below this one; a volatile one is gone after a restart.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn create_sub(&self, name: WStr<'_>, volatile: bool) -> Result<Self> {
        Self::create_at(self.level, self.handle, name, volatile)
    }

    /// Type and data of a value.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn query(&self, tag: Tag, name: WStr<'_>) -> Result<(u32, Vec<u8>)> {
        let mut name = name.raw();
        let mut buffer: Vec<u32> = Vec::new(tag);
        buffer.try_resize(64, 0)?;
        loop {
            let length = (buffer.len() * 4) as u32;
            let mut needed = 0;
            // SAFETY: PASSIVE_LEVEL (token); the buffer has `length` bytes.
            let status = unsafe {
                sys::ZwQueryValueKey(
                    self.handle,
                    &mut name,
                    VALUE_PARTIAL,
                    buffer.as_mut_ptr().cast(),
                    length,
                    &mut needed,
                )
            };
            match Status::check(status) {
                Ok(()) => break,
                Err(Status::BUFFER_OVERFLOW | Status::BUFFER_TOO_SMALL) if needed > length => {
                    buffer.try_resize((needed as usize).div_ceil(4), 0)?;
                }
                Err(status) => return Err(status),
            }
        }
        let kind = buffer[1];
        let room = buffer.len() * 4 - HEADER;
        let count = (buffer[2] as usize).min(room);
        let mut data = Vec::try_with_capacity(tag, count)?;
        for index in 0..count {
            let word = buffer[(HEADER + index) / 4];
            data.try_push(word.to_le_bytes()[index % 4])?;
        }
        Ok((kind, data))
    }

    fn query_units(&self, tag: Tag, name: WStr<'_>, kinds: &[u32]) -> Result<Vec<u16>> {
        let (kind, data) = self.query(tag, name)?;
        if !kinds.contains(&kind) {
            return Err(Status::OBJECT_TYPE_MISMATCH);
        }
        let mut units = Vec::try_with_capacity(tag, data.len() / 2)?;
        data.chunks_exact(2)
            .try_for_each(|pair| units.try_push(u16::from_le_bytes([pair[0], pair[1]])))?;
        Ok(units)
    }

    /// A REG_DWORD.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn query_dword(&self, name: WStr<'_>) -> Result<u32> {
        match self.query(Tag(*b"KxRg"), name)? {
            (REG_DWORD, data) => {
                let bytes =
                    <[u8; 4]>::try_from(&data[..]).map_err(|_| Status::INVALID_BUFFER_SIZE)?;
                Ok(u32::from_le_bytes(bytes))
            }
            _ => Err(Status::OBJECT_TYPE_MISMATCH),
        }
    }

    /// A REG_SZ or REG_EXPAND_SZ (not expanded).
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn query_sz(&self, tag: Tag, name: WStr<'_>) -> Result<WString> {
        let units = self.query_units(tag, name, &[REG_SZ, REG_EXPAND_SZ])?;
        WString::try_from_units(tag, &units)
    }

    /// The non-empty strings of a REG_MULTI_SZ.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn query_multi_sz(&self, tag: Tag, name: WStr<'_>) -> Result<Vec<WString>> {
        let units = self.query_units(tag, name, &[REG_MULTI_SZ])?;
        let mut strings = Vec::new(tag);
        for text in units
            .split(|unit| *unit == 0)
            .filter(|text| !text.is_empty())
        {
            strings.try_push(WString::try_from_units(tag, text)?)?;
        }
        Ok(strings)
    }

    fn set(&self, name: WStr<'_>, kind: u32, data: &[u8]) -> Result {
        let mut name = name.raw();
        let length = u32::try_from(data.len()).map_err(|_| Status::INVALID_BUFFER_SIZE)?;
        let address = data.as_ptr().cast_mut().cast();
        // SAFETY: PASSIVE_LEVEL (token); the data has `length` bytes and is only read.
        Status::check(unsafe {
            sys::ZwSetValueKey(self.handle, &mut name, 0, kind, address, length)
        })
    }

    /// Writes a REG_DWORD.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn set_dword(&self, name: WStr<'_>, value: u32) -> Result {
        self.set(name, REG_DWORD, &value.to_le_bytes())
    }

    /// The bytes of a REG_BINARY.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn query_binary(&self, tag: Tag, name: WStr<'_>) -> Result<Vec<u8>> {
        match self.query(tag, name)? {
            (REG_BINARY, data) => Ok(data),
            _ => Err(Status::OBJECT_TYPE_MISMATCH),
        }
    }

    /// Writes a REG_BINARY.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn set_binary(&self, name: WStr<'_>, data: &[u8]) -> Result {
        self.set(name, REG_BINARY, data)
    }

    /// Writes a REG_SZ.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn set_sz(&self, tag: Tag, name: WStr<'_>, text: WStr<'_>) -> Result {
        self.set_multi(tag, name, REG_SZ, &[text], false)
    }

    /// Writes a REG_MULTI_SZ.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn set_multi_sz(&self, tag: Tag, name: WStr<'_>, texts: &[WStr<'_>]) -> Result {
        self.set_multi(tag, name, REG_MULTI_SZ, texts, true)
    }

    fn set_multi(
        &self,
        tag: Tag,
        name: WStr<'_>,
        kind: u32,
        texts: &[WStr<'_>],
        end: bool,
    ) -> Result {
        let mut data = Vec::new(tag);
        for text in texts {
            for unit in text.units().iter().chain(&[0]) {
                data.try_extend_from_slice(&unit.to_le_bytes())?;
            }
        }
        if end {
            data.try_extend_from_slice(&[0, 0])?;
        }
        self.set(name, kind, &data)
    }

    /// Deletes a value.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn delete_value(&self, name: WStr<'_>) -> Result {
        let mut name = name.raw();
        // SAFETY: PASSIVE_LEVEL (token).
        Status::check(unsafe { sys::ZwDeleteValueKey(self.handle, &mut name) })
    }

    /// Name of the `index`-th key below this one; `NO_MORE_ENTRIES` ends the list.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn sub_name(&self, tag: Tag, index: u32) -> Result<WString> {
        let mut buffer = [0_u32; 4 + 128];
        let mut needed = 0;
        let length = size_of_val(&buffer) as u32;
        // SAFETY: PASSIVE_LEVEL (token); the buffer has `length` bytes; 0 is KeyBasicInformation.
        Status::check(unsafe {
            sys::ZwEnumerateKey(
                self.handle,
                index,
                0,
                buffer.as_mut_ptr().cast(),
                length,
                &mut needed,
            )
        })?;
        let count = (buffer[3] as usize / 2).min(256);
        let mut units = Vec::try_with_capacity(tag, count)?;
        for index in 0..count {
            let word = buffer[4 + index / 2];
            units.try_push(if index % 2 == 0 {
                word as u16
            } else {
                (word >> 16) as u16
            })?;
        }
        WString::try_from_units(tag, &units)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: our handle, not used again; PASSIVE_LEVEL because a `Key` stays in its thread.
        unsafe { sys::ZwClose(self.handle) };
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}
