// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]

mod events;
mod input;
mod parsers;
mod printf;
mod rings;
mod store;

/// Takes any bytes; panics when what it drives breaks a promise.
pub type Target = fn(&[u8]);

/// Every target: its name and what it runs. The names are those of the folders of seeds.
pub const TARGETS: &[(&str, Target)] = &[
    ("store-engine", store::engine),
    ("store-replies", parsers::replies),
    ("store-listing", parsers::listing),
    ("store-permissions", parsers::permissions),
    ("store-watch-event", parsers::watch_event),
    ("printf", printf::format),
    ("ring-requests", rings::requests),
    ("ring-responses", rings::responses),
    ("ring-console", rings::console),
    ("grant-entry", parsers::grant_entry),
    ("event-words", events::words),
];

/// The target of a name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, target)| *target)
}
