// SPDX-License-Identifier: BSD-2-Clause
//! INF text: comments, continuations, quotes, sections, and `%strings%`.
//!
//! Parsing happens in two steps: text to fields, then the substitution of `[Strings]`. A name that
//! `[Strings]` does not define is an error; a number (`%12%`, a directory id) stays as it is.

use crate::{Error, Result};

/// One line of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What stands left of the `=`, if there is one.
    pub key: Option<String>,
    /// The fields, unquoted.
    pub fields: Vec<String>,
    /// The 1-based line in the file.
    pub number: usize,
}

impl Line {
    /// Field `index`, empty when it is absent.
    #[must_use]
    pub fn field(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", String::as_str)
    }
}

/// A section; sections of the same name are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The name without brackets.
    pub name: String,
    /// Its lines in order.
    pub lines: Vec<Line>,
}

impl Section {
    /// All lines whose key is `key`, without regard to case.
    pub fn lines_of<'a, 'k>(
        &'a self,
        key: &'k str,
    ) -> impl Iterator<Item = &'a Line> + use<'a, 'k> {
        self.lines.iter().filter(move |line| {
            line.key
                .as_deref()
                .is_some_and(|found| found.eq_ignore_ascii_case(key))
        })
    }

    /// The first field of the first line `key`.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.lines_of(key).next().map(|line| line.field(0))
    }
}

/// A parsed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inf {
    /// The sections in order of first appearance.
    pub sections: Vec<Section>,
}

impl Inf {
    /// Parses `text`.
    ///
    /// # Errors
    ///
    /// Says the line of an unclosed quote or header, text outside any section, or an unknown string.
    pub fn parse(text: &str) -> Result<Self> {
        let mut inf = Self::default();
        let mut current = None;
        for (number, logical) in logical_lines(text)? {
            if let Some(rest) = logical.strip_prefix('[') {
                let name = rest
                    .strip_suffix(']')
                    .ok_or_else(|| Error::new(number, "section name is not closed by ]"))?;
                current = Some(inf.section_index(name.trim()));
                continue;
            }
            let index =
                current.ok_or_else(|| Error::new(number, "text before the first section"))?;
            let line = parse_line(&logical, number)?;
            inf.sections[index].lines.push(line);
        }
        inf.substitute()?;
        Ok(inf)
    }

    /// The section `name`, without regard to case.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name.eq_ignore_ascii_case(name))
    }

    fn section_index(&mut self, name: &str) -> usize {
        let found = self
            .sections
            .iter()
            .position(|section| section.name.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| {
            self.sections.push(Section {
                name: name.to_owned(),
                lines: Vec::new(),
            });
            self.sections.len() - 1
        })
    }

    fn substitute(&mut self) -> Result {
        let strings: Vec<(String, String)> = self
            .section("Strings")
            .into_iter()
            .flat_map(|section| &section.lines)
            .map(|line| {
                (
                    line.key.clone().unwrap_or_default(),
                    line.field(0).to_owned(),
                )
            })
            .collect();
        for section in &mut self.sections {
            if section.name.eq_ignore_ascii_case("Strings") {
                continue;
            }
            for line in &mut section.lines {
                if let Some(key) = &mut line.key {
                    *key = expand(key, &strings, line.number)?;
                }
                for field in &mut line.fields {
                    *field = expand(field, &strings, line.number)?;
                }
            }
        }
        Ok(())
    }
}

/// Joins continued lines and removes comments. Blank lines vanish.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>> {
    let mut out = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = index + 1;
        let line = uncomment(raw, number)?;
        let line = line.trim();
        let (start, mut joined) = pending.take().unwrap_or((number, String::new()));
        if let Some(continued) = line.strip_suffix('\\') {
            joined.push_str(continued);
            pending = Some((start, joined));
        } else {
            joined.push_str(line);
            if !joined.is_empty() {
                out.push((start, joined));
            }
        }
    }
    if let Some((start, _)) = pending {
        return Err(Error::new(start, "the file ends in a continued line"));
    }
    Ok(out)
}

fn uncomment(raw: &str, number: usize) -> Result<&str> {
    let mut quoted = false;
    for (at, c) in raw.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ';' if !quoted => return Ok(&raw[..at]),
            _ => {}
        }
    }
    if quoted {
        return Err(Error::new(number, "a quote is not closed"));
    }
    Ok(raw)
}

fn parse_line(text: &str, number: usize) -> Result<Line> {
    let (key, rest) = match unquoted(text, '=').next() {
        Some(at) => (Some(unquote(&text[..at])), &text[at + 1..]),
        None => (None, text),
    };
    if key.as_deref() == Some("") {
        return Err(Error::new(number, "nothing before ="));
    }
    let mut fields = Vec::new();
    let mut start = 0;
    for at in unquoted(rest, ',') {
        fields.push(unquote(&rest[start..at]));
        start = at + 1;
    }
    fields.push(unquote(&rest[start..]));
    Ok(Line {
        key,
        fields,
        number,
    })
}

/// Where `wanted` stands outside quotes.
fn unquoted(text: &str, wanted: char) -> impl Iterator<Item = usize> {
    let mut quoted = false;
    text.char_indices().filter_map(move |(at, c)| {
        if c == '"' {
            quoted = !quoted;
        }
        (c == wanted && !quoted).then_some(at)
    })
}

fn unquote(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.trim().chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        if c == '"' {
            if quoted && chars.peek() == Some(&'"') {
                chars.next();
                out.push('"');
            } else {
                quoted = !quoted;
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn expand(text: &str, strings: &[(String, String)], number: usize) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('%') {
        out.push_str(&rest[..open]);
        let tail = &rest[open + 1..];
        let close = tail
            .find('%')
            .ok_or_else(|| Error::new(number, format!("single % in {text:?}")))?;
        let name = &tail[..close];
        if name.is_empty() {
            out.push('%');
        } else if name.bytes().all(|b| b.is_ascii_digit()) {
            out.push('%');
            out.push_str(name);
            out.push('%');
        } else {
            let found = strings
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .ok_or_else(|| Error::new(number, format!("[Strings] lacks {name}")))?;
            out.push_str(&found.1);
        }
        rest = &tail[close + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Line {
        Inf::parse(text).unwrap().sections[0].lines[0].clone()
    }

    #[test]
    fn a_line_has_a_key_and_fields() {
        let line = only("[A]\nkey = one , two,,four ; remark\n");
        assert_eq!(line.key.as_deref(), Some("key"));
        assert_eq!(line.fields, ["one", "two", "", "four"]);
        assert_eq!(line.number, 2);
    }

    #[test]
    fn quotes_protect_separators_and_double_to_one() {
        let line = only("[A]\nHKR, \"a=b;c,d\", \"say \"\"hi\"\"\"\n");
        assert_eq!(line.key, None);
        assert_eq!(line.fields, ["HKR", "a=b;c,d", "say \"hi\""]);
    }

    #[test]
    fn a_backslash_continues_a_line_and_a_comment_may_follow_it() {
        let line = only("[A]\nx = a, \\ ; first\n   b, \\\n c\n");
        assert_eq!(line.fields, ["a", "b", "c"]);
        assert_eq!(line.number, 2);
    }

    #[test]
    fn strings_are_replaced_and_directory_ids_stay() {
        let line = only("[A]\n%Name% = %12%\\x.sys, 100%%\n[Strings]\nname = \"Disk, big\"\n");
        assert_eq!(line.key.as_deref(), Some("Disk, big"));
        assert_eq!(line.fields, ["%12%\\x.sys", "100%"]);
    }

    #[test]
    fn sections_of_one_name_are_merged() {
        let inf = Inf::parse("[A]\na\n[B]\nb\n[a]\nc\n").unwrap();
        let fields: Vec<_> = inf.section("A").unwrap().lines.iter().collect();
        assert_eq!(fields.len(), 2);
        assert_eq!(fields[1].fields, ["c"]);
    }

    #[test]
    fn faults_name_their_line() {
        for (text, line) in [
            ("x\n", 1),
            ("[A\n", 1),
            ("[A]\n\"open\n", 2),
            ("[A]\n\n%No%=1\n", 3),
            ("[A]\nb = a \\\n", 2),
            ("[A]\n50%\n", 2),
            ("[A]\n= 4\n", 2),
        ] {
            assert_eq!(Inf::parse(text).unwrap_err().line, line, "{text:?}");
        }
    }
}
