// SPDX-License-Identifier: BSD-2-Clause
//! What an image must not be: each rule is one module, and each problem says what to do.

mod allocator;
pub(crate) mod frames;
mod header;
mod imports;
mod isa;
mod paths;
pub(crate) mod set;
#[cfg(test)]
mod tests;

use std::{fmt, path::Path};

use anyhow::Result;

use super::image::Image;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// File name of the image.
    pub(crate) image: String,
    /// The rule's short name.
    pub(crate) rule: &'static str,
    /// What is wrong and what to do.
    pub(crate) detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} [{}]: {}", self.image, self.rule, self.detail)
    }
}

/// Collects the problems of one image.
struct Problems<'a> {
    image: &'a Image,
    list: Vec<Problem>,
}

impl Problems<'_> {
    fn add(&mut self, rule: &'static str, detail: impl Into<String>) {
        self.list.push(Problem {
            image: self.image.name.clone(),
            rule,
            detail: detail.into(),
        });
    }
}

/// Checks `image`; `beside` is the folder with the images that it may import.
///
/// # Errors
///
/// The image can't be parsed. Broken rules are not errors: they are what is returned.
pub(crate) fn all(image: &Image, beside: &Path) -> Result<Vec<Problem>> {
    let mut problems = Problems {
        image,
        list: Vec::new(),
    };
    header::check(&mut problems)?;
    imports::check(&mut problems, beside)?;
    frames::check(&mut problems)?;
    allocator::check(&mut problems);
    isa::check(&mut problems)?;
    paths::check(&mut problems);
    Ok(problems.list)
}
