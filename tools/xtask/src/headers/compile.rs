// SPDX-License-Identifier: BSD-2-Clause
//! The headers under C and C++ compilers, after the DDK's `<ntddk.h>`: they compile without a warning, and sizes, offsets and
//! GUIDs are those of the Rust side.

use std::path::{Path, PathBuf};

use super::layout::TABLES;
use super::{UNITS, interfaces, revisions};
use crate::util;

/// What the Rust compiler says of one version of a table.
pub(super) struct Layout {
    /// The structure's tag.
    pub(super) structure: &'static str,
    /// Name of the GUID, and its bytes.
    pub(super) guid: (&'static str, [u8; 16]),
    /// Its size.
    pub(super) size: usize,
    /// Its members' offsets, the header's first.
    pub(super) fields: &'static [(&'static str, usize)],
}

/// Program, and arguments before the common ones.
const COMPILERS: [(&str, &[&str]); 6] = [
    (
        "clang-19",
        &[
            "--target=x86_64-pc-windows-msvc",
            "-fms-extensions",
            "-fno-ms-compatibility",
            "-ffreestanding",
            "-x",
            "c",
        ],
    ),
    (
        "clang-19",
        &[
            "--target=x86_64-pc-windows-msvc",
            "-fms-extensions",
            "-fno-ms-compatibility",
            "-ffreestanding",
            "-x",
            "c++",
            "-std=c++17",
        ],
    ),
    (
        "clang-19",
        &[
            "--target=x86_64-w64-windows-gnu",
            "-fms-extensions",
            "-x",
            "c",
            "-std=gnu17",
        ],
    ),
    (
        "clang-19",
        &[
            "--target=x86_64-w64-windows-gnu",
            "-fms-extensions",
            "-x",
            "c++",
            "-std=c++17",
        ],
    ),
    ("x86_64-w64-mingw32-gcc", &["-x", "c", "-std=gnu17"]),
    ("x86_64-w64-mingw32-g++", &["-x", "c++", "-std=gnu++17"]),
];
const COMMON: [&str; 10] = [
    "-D_WIN32_WINNT=0x0A00",
    "-DNTDDI_VERSION=0x0A000000",
    "-DWINVER=0x0A00",
    "-DNT_PROCESSOR_GROUPS",
    // mingw-w64 defines these two functions twice.
    "-D__INTRINSIC_DEFINED_InterlockedBitTestAndSet",
    "-D__INTRINSIC_DEFINED_InterlockedBitTestAndReset",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fsyntax-only",
];
const CLANG: [&str; 5] = [
    // The DDK's headers warn about themselves.
    "-Wno-ignored-attributes",
    "-Wno-unknown-pragmas",
    "-Wno-#warnings",
    "-isystem",
    "/usr/lib/llvm-19/lib/clang/19/include",
];
const DDK: [&str; 4] = [
    "-isystem",
    "/usr/x86_64-w64-mingw32/include/ddk",
    "-isystem",
    "/usr/x86_64-w64-mingw32/include",
];
const ASSERT: &str = "#ifdef __cplusplus\n#define ASSERT_(x) static_assert(x, #x)\n#else\n\
                      #define ASSERT_(x) _Static_assert(x, #x)\n#endif\n";

fn includes() -> String {
    UNITS
        .iter()
        .map(|unit| format!("#include \"{}\"\n", unit.file))
        .collect()
}

/// Compiles `source` with every compiler; what the first one that refuses it says.
fn compile(name: &str, source: &str) -> Result<(), String> {
    compile_with(&COMPILERS, name, source)
}

fn compile_with(compilers: &[(&str, &[&str])], name: &str, source: &str) -> Result<(), String> {
    let folder = util::target_dir().join("headers");
    let file: PathBuf = folder.join(name).with_extension("c");
    util::write_if_changed(&file, source.as_bytes()).map_err(|error| error.to_string())?;
    for (program, arguments) in compilers {
        let mut command = util::clean_command(program);
        command.args(*arguments).args(COMMON);
        if program.starts_with("clang") {
            command.args(CLANG).args(DDK);
        } else {
            command.args(&DDK[..2]).arg("-Wno-cpp");
        }
        command
            .arg("-I")
            .arg(util::root().join("include"))
            .arg(&file);
        util::output(&mut command)
            .map_err(|error| format!("{program} {arguments:?}: {error:#}"))?;
    }
    Ok(())
}

/// Assertions on every size and offset, with the first size changed by `lie`.
fn layouts(lie: usize) -> String {
    let mut source = format!("#include <ntddk.h>\n{}{ASSERT}", includes());
    for (index, table) in TABLES.iter().enumerate() {
        let name = table.structure;
        let size = table.size + if index == 0 { lie } else { 0 };
        source += &format!("ASSERT_(sizeof(struct {name}) == {size});\n");
        for (field, offset) in table.fields {
            source +=
                &format!("ASSERT_(__builtin_offsetof(struct {name}, {field}) == {offset});\n");
        }
    }
    source
}

/// Every GUID as enumerators, which an assertion can compare.
fn guids() -> String {
    let mut source = String::from(
        "#include <ntddk.h>\n#include <guiddef.h>\n#undef DEFINE_GUID\n\
         #define DEFINE_GUID(n, l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8) \\\n    \
         enum { n##_1 = w1, n##_2 = w2, n##_3 = b1, n##_4 = b2, n##_5 = b3, n##_6 = b4, n##_7 = b5, n##_8 = b6, n##_9 = b7, n##_10 = b8, \\\n    \
         n##_low = (l) & 0xffff, n##_high = (l) >> 16 }\n",
    );
    // In full: some <guiddef.h> defines the macro again each time.
    for unit in &UNITS {
        let text = util::read(&util::root().join("include").join(unit.file)).expect("a header");
        let text = String::from_utf8(text).expect("text");
        source += &text.replace("#include <guiddef.h>\n", "");
    }
    source += ASSERT;
    for table in TABLES {
        let (name, bytes) = table.guid;
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        source += &format!(
            "ASSERT_({name}_low == {} && {name}_high == {});\n",
            short(0),
            short(2)
        );
        source += &format!(
            "ASSERT_({name}_1 == {} && {name}_2 == {});\n",
            short(4),
            short(6)
        );
        for (index, byte) in bytes[8..].iter().enumerate() {
            source += &format!("ASSERT_({name}_{} == {byte});\n", index + 3);
        }
    }
    source
}

#[test]
fn the_layout_table_has_every_version_of_every_interface() {
    for interface in interfaces().unwrap() {
        let (min, max) = interface.versions;
        let versions: Vec<u16> = interface.tables().map(|(_, version, _)| version).collect();
        assert_eq!(
            versions,
            (min..=max).collect::<Vec<_>>(),
            "{}",
            interface.name
        );
        for version in versions {
            let tag = format!("_{}_INTERFACE_V{version}", interface.name);
            assert!(TABLES.iter().any(|table| table.structure == tag), "{tag}");
        }
    }
}

#[test]
#[ignore = "needs clang and mingw-w64"]
fn every_header_compiles_alone_after_ntddk() {
    for unit in &UNITS {
        let stem = Path::new(unit.file).file_stem().unwrap().to_string_lossy();
        let source = format!(
            "#include <ntddk.h>\n#include \"{0}\"\n#include \"{0}\"\n",
            unit.file
        );
        // The first and the last: all together they go through every compiler.
        for compiler in [COMPILERS[0], COMPILERS[COMPILERS.len() - 1]] {
            compile_with(&[compiler], &format!("alone-{stem}"), &source).unwrap();
        }
    }
}

#[test]
#[ignore = "needs clang and mingw-w64"]
fn sizes_and_offsets_are_those_of_rust_and_a_wrong_one_is_seen() {
    compile("layouts", &layouts(0)).unwrap();
    let refused = compile("layouts-wrong", &layouts(8)).unwrap_err();
    assert!(
        refused.contains("ASSERT_") || refused.contains("sizeof"),
        "{refused}"
    );
}

#[test]
#[ignore = "needs clang and mingw-w64"]
fn guids_are_those_of_rust() {
    compile("guids", &guids()).unwrap();
    let wrong = guids().replacen("_3 == ", "_3 != ", 1);
    compile("guids-wrong", &wrong).unwrap_err();
}

#[test]
#[ignore = "needs clang and mingw-w64"]
fn the_revision_table_expands_to_one_row_for_each_revision() {
    let source = format!(
        "#include <ntddk.h>\n{}{ASSERT}#include \"revision.h\"\n\
         #define DEFINE_REVISION(n, s, si, e, d, st, r, c, g, u, co, em) \\\n    \
         ASSERT_((n) >> 24 == 9 && (e) <= XENBUS_EVTCHN_INTERFACE_VERSION_MAX && (em) <= XENFILT_EMULATED_INTERFACE_VERSION_MAX \\\n    \
         && (s) >= 1 && (si) >= 2 && (d) == 1 && (st) == 2 && (r) == 1 && (c) >= 1 && (g) >= 2 && (u) >= 1 && (co) == 1);\n\
         DEFINE_REVISION_TABLE\n#undef DEFINE_REVISION\n#define DEFINE_REVISION(n, s, si, e, d, st, r, c, g, u, co, em) + 1\n\
         ASSERT_((0 DEFINE_REVISION_TABLE) == {});\n",
        includes(),
        revisions::count().unwrap(),
    );
    compile("revisions", &source).unwrap();
}
