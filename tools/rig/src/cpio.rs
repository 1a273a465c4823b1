// SPDX-License-Identifier: BSD-2-Clause
//! Writes an initial RAM disk in the kernel's "newc" form.

use std::collections::BTreeSet;
use std::io::{self, Write};

/// A RAM disk being written. Parent directories are added by themselves.
pub(crate) struct Writer<W: Write> {
    out: W,
    inode: u32,
    dirs: BTreeSet<String>,
}

const DIR: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const FILE: u32 = 0o100_755;

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            inode: 0,
            dirs: BTreeSet::new(),
        }
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let size = u32::try_from(data.len()).map_err(|_| io::Error::other("file over 4 GiB"))?;
        let name_size =
            u32::try_from(name.len() + 1).map_err(|_| io::Error::other("name too long"))?;
        write!(
            self.out,
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}",
            self.inode, 0, 0, 1, 0
        )?;
        write!(
            self.out,
            "{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}",
            0, 0, 0, 0, 0
        )?;
        self.out.write_all(name.as_bytes())?;
        // The header is 110 bytes; name and data each end on a multiple of four.
        let pad = 4 - (110 + name.len()) % 4;
        self.out.write_all(&[0; 4][..pad])?;
        self.out.write_all(data)?;
        self.out.write_all(&[0; 3][..(4 - data.len() % 4) % 4])
    }

    /// Adds a directory and its parents.
    pub(crate) fn dir(&mut self, path: &str) -> io::Result<()> {
        let mut end = 0;
        while end < path.len() {
            end = path[end + 1..]
                .find('/')
                .map_or(path.len(), |n| end + 1 + n);
            if self.dirs.insert(path[..end].to_owned()) {
                self.entry(&path[..end], DIR, &[])?;
            }
        }
        Ok(())
    }

    fn parent(&mut self, path: &str) -> io::Result<()> {
        path.rsplit_once('/')
            .map_or(Ok(()), |(dir, _)| self.dir(dir))
    }

    /// Adds an executable file.
    pub(crate) fn file(&mut self, path: &str, data: &[u8]) -> io::Result<()> {
        self.parent(path)?;
        self.entry(path, FILE, data)
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.parent(path)?;
        self.entry(path, LINK, target.as_bytes())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_parents_come_first() {
        let mut w = Writer::new(Vec::new());
        w.file("a/b/c", b"hello").expect("file");
        w.file("a/b/d", b"").expect("file");
        let data = w.finish().expect("finish");
        assert_eq!(data.len() % 4, 0);
        let text = String::from_utf8_lossy(&data);
        assert_eq!(text.matches("070701").count(), 5);
        let at = |s: &str| text.find(s).expect("present");
        assert!(at("a\0") < at("a/b\0") && at("a/b\0") < at("a/b/c\0"));
    }
}
