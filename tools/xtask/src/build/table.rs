// SPDX-License-Identifier: BSD-2-Clause
//! What the build prints about finished images.

use std::fmt::Write;

use anyhow::Result;

use super::{
    check::frames,
    futures::{self, Task},
    image::Image,
};

const COLUMNS: [&str; 4] = [".text", ".rdata", ".data", ".pdata"];

/// Size of each image by section, of the whole file, and its largest stack frame.
pub(crate) fn sizes(images: &[Image]) -> String {
    let mut text = format!("{:<16}", "image");
    for column in COLUMNS {
        let _ = write!(text, "{column:>9}");
    }
    let _ = write!(text, "{:>9}{:>9}  largest frame", "other", "file");
    for image in images {
        let _ = write!(text, "\n{:<16}", image.name);
        let sections = image.sections().unwrap_or_default();
        for column in COLUMNS {
            let size: u32 = sections
                .iter()
                .filter(|section| section.name == column)
                .map(|section| section.size)
                .sum();
            let _ = write!(text, "{size:>9}");
        }
        let other: u32 = sections
            .iter()
            .filter(|section| !COLUMNS.contains(&section.name.as_str()))
            .map(|section| section.size)
            .sum();
        let _ = write!(text, "{other:>9}{:>9}  ", image.data.len());
        match frames::largest(image) {
            Ok(Some(frame)) => {
                let _ = write!(
                    text,
                    "{} {}",
                    frame.size,
                    image.symbols.describe(frame.function)
                );
            }
            _ => text.push('-'),
        }
    }
    text
}

/// One line about the largest future of all images.
///
/// # Errors
///
/// An image can't be parsed.
pub(crate) fn largest_future(images: &[Image]) -> Result<String> {
    let mut largest: Option<(&Image, Task)> = None;
    let mut count = 0;
    for image in images {
        for task in futures::tasks(image)? {
            count += 1;
            if largest
                .as_ref()
                .is_none_or(|(_, other)| other.size < task.size)
            {
                largest = Some((image, task));
            }
        }
    }
    Ok(match largest {
        Some((image, task)) => format!(
            "largest future: {} bytes, task `{}` in {}, spawned at {} ({count} spawn sites)",
            task.size, task.name, image.name, task.place
        ),
        None => "largest future: none, nothing is spawned in these images".to_owned(),
    })
}
