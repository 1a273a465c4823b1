// SPDX-License-Identifier: BSD-2-Clause
//! `revision.h`: the published revisions, from the bus driver's table in `xenbus/src/interfaces.rs`.
//!
//! The rules of the table (every version is one that is answered, the newest row is the newest versions, numbers rise) are
//! checked where the driver is compiled.

use anyhow::{Context, Result, bail, ensure};
use syn::{Expr, Item, Lit};

use crate::util;

/// Columns in the order of the table.
const COLUMNS: [&str; 11] = [
    "SUSPEND",
    "SHARED_INFO",
    "EVTCHN",
    "DEBUG",
    "STORE",
    "RANGE_SET",
    "CACHE",
    "GNTTAB",
    "UNPLUG",
    "CONSOLE",
    "EMULATED",
];

/// One revision: its number, and the version of each interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    number: u32,
    versions: Vec<u16>,
}

/// The header's text.
pub(super) fn header() -> Result<String> {
    let path = util::root().join("xenbus/src/interfaces.rs");
    let source = String::from_utf8(util::read(&path)?)?;
    Ok(text(
        &rows(&source).with_context(|| path.display().to_string())?,
    ))
}

/// How many revisions there are.
#[cfg(test)]
pub(super) fn count() -> Result<usize> {
    let source = String::from_utf8(util::read(&util::root().join("xenbus/src/interfaces.rs"))?)?;
    Ok(rows(&source)?.len())
}

/// The rows of `REVISIONS`, oldest first.
fn rows(source: &str) -> Result<Vec<Row>> {
    let file = syn::parse_file(source)?;
    let table = file.items.iter().find_map(|item| match item {
        Item::Const(item) if item.ident == "REVISIONS" => Some(&*item.expr),
        _ => None,
    });
    let Some(Expr::Array(table)) = table else {
        bail!("no array REVISIONS");
    };
    let columns = file.items.iter().find_map(|item| match item {
        Item::Macro(item) if item.mac.path.is_ident("interfaces") => {
            Some(item.mac.tokens.to_string())
        }
        _ => None,
    });
    let columns = columns.context("no interfaces!")?;
    let mut at = 0;
    for name in COLUMNS {
        let next = columns[at..].find(&format!("{name} = "));
        at += next.with_context(|| format!("{name} is not where it was"))? + name.len();
    }
    table.elems.iter().map(row).collect()
}

fn row(expression: &Expr) -> Result<Row> {
    let Expr::Call(call) = expression else {
        bail!("a row is not made by a call");
    };
    let (Some(number), Some(Expr::Array(versions))) = (call.args.first(), call.args.get(1)) else {
        bail!("a row is not a number and an array");
    };
    let versions: Vec<u16> = versions
        .elems
        .iter()
        .map(|version| Ok(u16::try_from(literal(version)?)?))
        .collect::<Result<_>>()?;
    ensure!(versions.len() == COLUMNS.len(), "a row of another length");
    Ok(Row {
        number: literal(number)?,
        versions,
    })
}

fn literal(expression: &Expr) -> Result<u32> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(value) => Ok(value.base10_parse()?),
            _ => bail!("not a number"),
        },
        _ => bail!("not a literal"),
    }
}

fn text(rows: &[Row]) -> String {
    let mut out = format!(
        "// SPDX-License-Identifier: BSD-2-Clause\n\
         // Made by `cargo xtask headers` from xenbus/src/interfaces.rs: change that file.\n\
         //\n\
         // Revisions of the bus. A revision is a number in the hardware ids of a child device (REV_09000008); it promises one\n\
         // version of every interface. Define DEFINE_REVISION with {} parameters, the revision and the versions of\n\
         //   {},\n\
         // then use DEFINE_REVISION_TABLE: it expands to one DEFINE_REVISION for each revision, oldest first, with nothing between.\n\n\
         #ifndef _REVISION_H_\n#define _REVISION_H_\n\n#define DEFINE_REVISION_TABLE",
        COLUMNS.len() + 1,
        COLUMNS.join(", "),
    );
    for Row { number, versions } in rows {
        let versions: Vec<String> = versions.iter().map(u16::to_string).collect();
        out += &format!(
            " \\\n    DEFINE_REVISION(0x{number:08X}, {})",
            versions.join(", ")
        );
    }
    out + "\n\n#endif // _REVISION_H_\n"
}
