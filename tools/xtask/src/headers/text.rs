// SPDX-License-Identifier: BSD-2-Clause
//! Rust doc comments as C comments: links and Rust names become C names, lines are wrapped.

use std::collections::HashMap;

use super::model::{Declaration, Interface, camel};

/// Turns documentation of one interface into comments.
pub(super) struct Comments {
    names: HashMap<String, String>,
    width: usize,
}

impl Comments {
    /// For `interface`, with lines of at most `width` columns.
    pub(super) fn new(interface: &Interface, width: usize) -> Self {
        let mut names = interface.names.clone();
        for item in &interface.declarations {
            match item {
                Declaration::Method(_, _, function) | Declaration::Callback(_, _, function) => {
                    for (name, _) in &function.parameters {
                        names.entry(snake(name)).or_insert_with(|| name.clone());
                    }
                }
                Declaration::Struct(_, _, fields) => {
                    for field in fields {
                        names
                            .entry(field.rust.clone())
                            .or_insert(field.name.clone());
                    }
                }
                _ => {}
            }
        }
        Self { names, width }
    }

    /// Paragraphs with empty lines between them.
    pub(super) fn block(&self, paragraphs: &[String]) -> String {
        let mut out = String::new();
        let mut last_was_item = true;
        for paragraph in paragraphs {
            let item = paragraph.starts_with("* ") || paragraph.starts_with("  ");
            let list = item && last_was_item;
            if !out.is_empty() && !list {
                out += "//\n";
            }
            out += &self.wrap(paragraph, "");
            last_was_item = item;
        }
        out
    }

    /// Paragraphs one after the other.
    pub(super) fn indented(&self, paragraphs: &[String], indent: &str) -> String {
        paragraphs
            .iter()
            .map(|text| self.wrap(text, indent))
            .collect()
    }

    fn wrap(&self, paragraph: &str, indent: &str) -> String {
        // A drawing stays as it is.
        if paragraph.starts_with("  ") || paragraph.contains("-->") {
            return format!("{indent}// {paragraph}\n");
        }
        let plain = sentence(&self.plain(paragraph));
        let hang = if plain.starts_with("* ") { "  " } else { "" };
        let mut out = String::new();
        let mut line = format!("{indent}//");
        for word in plain.split_whitespace() {
            if line.len() + 1 + word.len() > self.width {
                out += &line;
                out.push('\n');
                line = format!("{indent}// {hang}").trim_end().to_owned();
                if !hang.is_empty() {
                    line += "  ";
                }
            }
            line.push(' ');
            line += word;
        }
        out + &line + "\n"
    }

    /// Takes markup out and names things as C does.
    fn plain(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('`') {
            let (before, after) = rest.split_at(at);
            let Some((code, tail)) = after[1..].split_once('`') else {
                break;
            };
            out += before.strip_suffix('[').unwrap_or(before);
            out += &self.name(code);
            rest = if before.ends_with('[') {
                tail.strip_prefix(']').unwrap_or(tail)
            } else {
                tail
            };
        }
        out += rest;
        out.replace("**", "")
    }

    fn name(&self, code: &str) -> String {
        let last = code.rsplit("::").next().unwrap_or(code);
        if let Some(name) = self.names.get(last) {
            return name.clone();
        }
        if last != code {
            return camel(last);
        }
        code.to_owned()
    }
}

/// Begins with a capital, unless the first word is a C name.
fn sentence(text: &str) -> String {
    let first = text
        .split([' ', ':', ';', ',', '.'])
        .next()
        .unwrap_or_default();
    if first.chars().all(|c| c.is_ascii_lowercase()) {
        let (head, tail) = text.split_at(text.len().min(1));
        return head.to_uppercase() + tail;
    }
    text.to_owned()
}

/// `NumberPages` as Rust writes it.
fn snake(name: &str) -> String {
    super::model::shout(name).to_lowercase()
}
