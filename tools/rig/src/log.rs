// SPDX-License-Identifier: BSD-2-Clause
//! Reads COM1: Xen's lines, dom0's lines, and what guests write to port 0xE9.
//!
//! Xen hands over a guest's line when it ends or at [`XEN_LINE`] characters; longer lines are put together here.
//! Only printable ASCII, tab and newline get through.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Context, Result};

/// Xen prints a guest's line in pieces of this many characters.
pub const XEN_LINE: usize = 199;

/// A line of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLine {
    /// The guest's domain id.
    pub domid: u32,
    /// The text without its mark and line end.
    pub text: String,
}

/// Splits COM1's bytes into lines as they arrive.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    rest: Vec<u8>,
    /// A guest's line whose end has not come yet.
    open: Option<GuestLine>,
    guest: Vec<GuestLine>,
    host: Vec<String>,
}

/// Takes a guest's mark off a line: `(d5) text` or `(XEN) [time] (d5) text`.
fn guest_line(line: &str) -> Option<GuestLine> {
    let at = line
        .find("(d")
        .filter(|at| *at == 0 || line.starts_with("(XEN)"))?;
    let (domid, text) = line.get(at + 2..)?.split_once(") ").or_else(|| {
        // An empty line has lost its last blank.
        line.get(at + 2..)?.strip_suffix(')').map(|d| (d, ""))
    })?;
    Some(GuestLine {
        domid: domid.parse().ok()?,
        text: text.to_owned(),
    })
}

impl Parser {
    pub(crate) fn feed(&mut self, data: &[u8]) {
        self.rest.extend_from_slice(data);
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line);
            self.line(text.trim_end_matches(['\n', '\r']));
        }
    }

    fn line(&mut self, line: &str) {
        let Some(new) = guest_line(line) else {
            self.host.push(line.to_owned());
            return;
        };
        let full = new.text.len() >= XEN_LINE;
        let whole = match self.open.take() {
            Some(mut open) if open.domid == new.domid => {
                open.text.push_str(&new.text);
                open
            }
            Some(other) => {
                self.guest.push(other);
                new
            }
            None => new,
        };
        if full {
            self.open = Some(whole);
        } else {
            self.guest.push(whole);
        }
    }

    pub(crate) fn guest(&self) -> &[GuestLine] {
        &self.guest
    }

    pub(crate) fn host(&self) -> &[String] {
        &self.host
    }
}

/// Follows the file that QEMU writes.
pub(crate) struct Com1 {
    file: File,
    at: u64,
    parser: Parser,
}

impl Com1 {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).at("open", path)?;
        Ok(Self {
            file,
            at: 0,
            parser: Parser::default(),
        })
    }

    /// Reads what is new.
    pub(crate) fn poll(&mut self) -> Result<&Parser> {
        let here = Path::new("COM1's log");
        let mut data = Vec::new();
        self.file.seek(SeekFrom::Start(self.at)).at("read", here)?;
        self.file.read_to_end(&mut data).at("read", here)?;
        self.at += data.len() as u64;
        self.parser.feed(&data);
        Ok(&self.parser)
    }

    pub(crate) fn parser(&self) -> &Parser {
        &self.parser
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(parser: &Parser) -> Vec<&str> {
        parser.guest().iter().map(|l| l.text.as_str()).collect()
    }

    #[test]
    fn guest_lines_are_told_from_xens_and_dom0s() {
        let mut p = Parser::default();
        p.feed(b"(XEN) Xen version 4.17\r\nRIG-READY\r\n(d1) hel");
        assert!(p.guest().is_empty());
        p.feed(b"lo (d2) world\r\n(XEN) [2026] (d12) again\r\n(d1)\r\n");
        assert_eq!(
            p.guest(),
            [
                GuestLine {
                    domid: 1,
                    text: "hello (d2) world".into()
                },
                GuestLine {
                    domid: 12,
                    text: "again".into()
                },
                GuestLine {
                    domid: 1,
                    text: String::new()
                },
            ]
        );
        assert_eq!(p.host().len(), 2);
    }

    #[test]
    fn a_line_that_xen_cut_is_put_together() {
        let mut p = Parser::default();
        let long = "x".repeat(XEN_LINE);
        p.feed(
            format!("(d1) {long}\r\n(XEN) noise\r\n(d1) {long}\r\n(d1) end\r\n(d1) next\r\n")
                .as_bytes(),
        );
        assert_eq!(texts(&p), [format!("{long}{long}end").as_str(), "next"]);
        p.feed(format!("(d1) {long}\r\n(d1) \r\n(d1) after\r\n").as_bytes());
        assert_eq!(texts(&p)[2..], [long.as_str(), "after"]);
    }
}
