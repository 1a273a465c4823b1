// SPDX-License-Identifier: BSD-2-Clause
//! Fills a template: `@NAME@` becomes its value, and a line that mentions a name whose value is
//! empty is dropped whole (so that a continued line stays one). A line that begins with `;;` is about the
//! template and dropped too.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// The names of a template and their values; an empty value drops the lines that mention it.
pub type Values = BTreeMap<&'static str, String>;

/// Replaces the names of `template`.
///
/// # Errors
///
/// A name that `values` lacks.
pub fn stamp(template: &str, values: &Values) -> Result<String> {
    let mut out = String::with_capacity(template.len());
    for (index, line) in template.lines().enumerate() {
        // Prose about the template ends here; other comments go through, with no names to replace.
        if line.starts_with(";;") {
            continue;
        }
        if line.starts_with(';') {
            out.push_str(line);
        } else {
            match stamp_line(line, values, index + 1)? {
                Some(stamped) => out.push_str(stamped.trim_end()),
                None => continue,
            }
        }
        out.push_str("\r\n");
    }
    Ok(out)
}

fn stamp_line(line: &str, values: &Values, number: usize) -> Result<Option<String>> {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, name, after)) = next_name(rest) {
        let value = values
            .get(name)
            .ok_or_else(|| Error::new(number, format!("the template names @{name}@")))?;
        if value.is_empty() {
            return Ok(None);
        }
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}

/// Splits at the first `@NAME@`.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let open = text.find('@')?;
    let tail = &text[open + 1..];
    let close = tail.find('@')?;
    let name = &tail[..close];
    let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    valid.then(|| (&text[..open], name, &tail[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values::from([("A", "one".to_owned()), ("EMPTY", String::new())])
    }

    #[test]
    fn names_are_replaced_and_lines_with_empty_ones_dropped() {
        let text = ";; about\n; kept @B@\nx=@A@,@A@\ny = a, \\\n @EMPTY@, \\\n b\nz ; @EMPTY@\n";
        assert_eq!(
            stamp(text, &values()).unwrap(),
            "; kept @B@\r\nx=one,one\r\ny = a, \\\r\n b\r\n"
        );
    }

    #[test]
    fn an_unknown_name_is_an_error_with_its_line() {
        assert_eq!(stamp("a\n@B@\n", &values()).unwrap_err().line, 2);
    }
}
