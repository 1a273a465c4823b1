// SPDX-License-Identifier: BSD-2-Clause
//! Real images, each with one thing wrong, against all rules: compiled by clang and linked the way drivers are.
//!
//! They need Debian's clang-19 and lld-19, so they run where `cargo xtask setup` has: `cargo xtask test` asks for them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Problem, all, set};
use crate::{
    build::{Flavor, image::Image, kit, link, resource},
    util,
};

/// A folder that goes away with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("xtask-check-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Compiles `source` into `NAME.sys` in `dir`; `change` edits the linker's arguments.
fn image(dir: &Path, name: &str, source: &str, change: impl FnOnce(&mut Vec<String>)) -> Image {
    let kit = kit::find(dir).unwrap();
    let version = resource::write(name, Flavor::Free, dir).unwrap();
    let (code, object) = (
        dir.join(name).with_extension("c"),
        dir.join(name).with_extension("obj"),
    );
    let common = "int DbgPrint(const char *format, ...);\nextern int _fltused;\nint _fltused;\n";
    std::fs::write(&code, format!("{common}{source}")).unwrap();
    let mut clang = Command::new("clang-19");
    clang
        .args([
            "--target=x86_64-pc-windows-msvc",
            "-O1",
            "-fno-builtin",
            "-c",
        ])
        .arg(&code)
        .arg("-o")
        .arg(&object);
    util::run(&mut clang).unwrap();
    let mut arguments = link::arguments(name, &kit, &version, dir);
    change(&mut arguments);
    let path = dir.join(name).with_extension("sys");
    let mut linker = Command::new("lld-link-19");
    linker
        .args(arguments)
        .arg(&object)
        .args(["ntoskrnl.lib", "hal.lib"])
        .arg(format!("/OUT:{}", path.display()));
    util::run(&mut linker).unwrap();
    Image::load(&path).unwrap()
}

const ENTRY: &str =
    "int DriverEntry(void *driver, void *path) { return DbgPrint(\"%p\", path); }\n";

/// Problems of an image that is right but for `source` and `change`.
fn problems(name: &str, source: &str, change: impl FnOnce(&mut Vec<String>)) -> Vec<Problem> {
    let folder = Folder::new(name);
    all(&image(&folder.0, name, source, change), &folder.0).unwrap()
}

/// Every problem must be of `rule`, and one must say `text`.
fn must_fail(name: &str, source: &str, rule: &str, text: &str) {
    let found = problems(name, source, |_| {});
    assert!(
        !found.is_empty() && found.iter().all(|problem| problem.rule == rule),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|problem| problem.detail.contains(text)),
        "{found:#?}"
    );
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn a_good_image_has_no_problems() {
    assert_eq!(problems("good", ENTRY, |_| {}), []);
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn an_import_newer_than_1607_is_named() {
    let source = "void *ExAllocatePool2(unsigned long long, unsigned long long, unsigned);\n\
                  int DriverEntry(void) { return ExAllocatePool2(64, 16, 1) != 0; }\n";
    must_fail(
        "newer",
        source,
        "import",
        "ntoskrnl.exe!ExAllocatePool2: appeared in Windows 10-2004",
    );
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn an_import_that_nobody_looked_up_is_named() {
    let source = "int FsRtlIsNtstatusExpected(int);\nint DriverEntry(void) { return FsRtlIsNtstatusExpected(1); }\n";
    must_fail(
        "unlisted",
        source,
        "import",
        "FsRtlIsNtstatusExpected: not in",
    );
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn an_import_that_the_sibling_lacks_is_named() {
    let folder = Folder::new("sibling");
    let touch = "__declspec(dllexport) int XenTouch(void) { return 0; }\n";
    let xen = image(&folder.0, "xen", &format!("{ENTRY}{touch}"), |arguments| {
        arguments.extend([
            "/DLL".to_owned(),
            format!("/IMPLIB:{}", folder.0.join("xen.lib").display()),
        ]);
    });
    assert_eq!(all(&xen, &folder.0).unwrap(), []);
    let source =
        "__declspec(dllimport) int XenTouch(void);\nint DriverEntry(void) { return XenTouch(); }\n";
    let user = image(&folder.0, "xenbus", source, |arguments| {
        arguments.push(folder.0.join("xen.lib").display().to_string())
    });
    assert_eq!(all(&user, &folder.0).unwrap(), []);
    image(&folder.0, "xen", ENTRY, |_| {});
    let found = all(&user, &folder.0).unwrap();
    assert!(
        found.len() == 1
            && found[0]
                .detail
                .starts_with("xen.sys!XenTouch: the image doesn't export it"),
        "{found:#?}"
    );
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn a_frame_over_a_page_is_named() {
    let source = "void fill(char *);\nvoid fill(char *at) { *at = 1; DbgPrint(at); }\n\
                  static __attribute__((noinline)) int large(void) { volatile char room[5000]; fill((char *)room); return room[9]; }\n\
                  int DriverEntry(void) { return large(); }\n";
    must_fail("frame", source, "frame", "large has a stack frame of 50");
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn avx_x87_and_mmx_are_named() {
    let cases = [
        ("avx", "vxorps %%ymm0, %%ymm0, %%ymm0", "AVX"),
        ("x87", "fld1; fstp %%st(0)", "x87"),
        ("mmx", "paddb %%mm1, %%mm0", "MMX"),
    ];
    for (name, code, text) in cases {
        let source = format!(
            "static __attribute__((noinline)) void odd(void) {{ __asm__ volatile(\"{code}\" :); }}\n\
             int DriverEntry(void) {{ odd(); return 0; }}\n"
        );
        must_fail(name, &source, "instruction", text);
    }
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn a_global_allocator_is_named() {
    let source = "__attribute__((noinline)) void *__rust_alloc(unsigned long long size) { return DbgPrint(\"%p\", size) ? &_fltused : 0; }\n\
                  int DriverEntry(void) { return __rust_alloc(9) != 0; }\n";
    must_fail("allocator", source, "allocator", "__rust_alloc");
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn a_writable_code_section_is_named() {
    let source = format!("__attribute__((section(\"mixed\"))) int odd = 1;\n{ENTRY}");
    let found = problems("wx", &source, |arguments| {
        arguments.extend(["/SECTION:mixed,RWE".to_owned(), "/INCLUDE:odd".to_owned()]);
    });
    assert!(
        found
            .iter()
            .any(|problem| problem.rule == "writable-code" && problem.detail.contains("mixed")),
        "{found:#?}"
    );
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn each_missing_linker_argument_is_named() {
    let cases = [
        ("/INTEGRITYCHECK", "", "integrity"),
        ("/NXCOMPAT", "/NXCOMPAT:NO", "no-execute"),
        ("/SUBSYSTEM:NATIVE,10.0", "/SUBSYSTEM:CONSOLE", "subsystem"),
        ("/RELEASE", "", "checksum"),
    ];
    for (argument, replacement, rule) in cases {
        let found = problems("arguments", ENTRY, |arguments| {
            arguments.retain(|have| have != argument);
            if !replacement.is_empty() {
                arguments.push(replacement.to_owned());
            }
        });
        assert!(
            found.len() == 1 && found[0].rule == rule,
            "{argument}: {found:#?}"
        );
    }
    let found = problems("version", ENTRY, |arguments| {
        arguments.retain(|have| !have.ends_with(".res"))
    });
    assert!(found.len() == 1 && found[0].rule == "version", "{found:#?}");
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn a_path_of_this_machine_is_named() {
    let path = util::root().join("kexec/src/lib.rs");
    must_fail(
        "path",
        &format!(
            "int DriverEntry(void) {{ return DbgPrint(\"{}\"); }}\n",
            path.display()
        ),
        "path",
        "kexec/src/lib.rs",
    );
}

/// A set of drivers in `folder` whose xen.sys has all that is wanted of one, and is imported by the two others.
fn driver_set(folder: &Path) {
    let names = include_str!("xen-exports.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    let exports: String = names
        .map(|name| format!("__declspec(dllexport) int {name}(void) {{ return 0; }}\n"))
        .collect();
    image(folder, "xen", &format!("{ENTRY}{exports}"), |arguments| {
        let library = folder.join("xen.lib");
        arguments.extend(["/DLL".to_owned(), format!("/IMPLIB:{}", library.display())]);
    });
    let source = "__declspec(dllimport) int XenTouch(void);\nint DriverEntry(void) { return XenTouch() + DbgPrint(\"x\"); }\n";
    for name in ["xenbus", "xenfilt"] {
        image(folder, name, source, |arguments| {
            arguments.push(folder.join("xen.lib").display().to_string())
        });
    }
}

#[test]
#[ignore = "needs clang-19 and lld-19"]
fn a_set_of_drivers_that_lacks_an_export_is_refused_by_its_name() {
    let folder = Folder::new("set");
    driver_set(&folder.0);
    set::set(&folder.0).unwrap();
    set::doctor(&folder.0.join("xen.sys"), "XenTouch").unwrap();
    let refused = set::set(&folder.0).unwrap_err().to_string();
    assert!(
        refused.ends_with("do not fit together:\n  xen.sys does not export XenTouch"),
        "{refused}"
    );
    driver_set(&folder.0);
    set::doctor(&folder.0.join("xenbus.sys"), "NoSuchName").unwrap_err();
    let source = "int FsRtlIsNtstatusExpected(int);\nint DriverEntry(void) { return FsRtlIsNtstatusExpected(1); }\n";
    image(&folder.0, "xenbus", source, |_| {});
    let refused = set::set(&folder.0).unwrap_err().to_string();
    assert!(
        refused.ends_with(
            "  the test kernel does not export FsRtlIsNtstatusExpected, which xenbus.sys imports"
        ),
        "{refused}"
    );
    std::fs::write(folder.0.join("xenfilt.sys"), "text").unwrap();
    let refused = set::set(&folder.0).unwrap_err();
    assert!(format!("{refused:#}").contains("xenfilt.sys isn't a 64-bit PE file"));
}
