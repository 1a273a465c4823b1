// SPDX-License-Identifier: BSD-2-Clause
//! Carries out a device package on a registry as setup would on x64.
//!
//! For every model: its install section's `AddReg` and services, and an entry in the test kernel's
//! driver database. Directives that change the registry and are not known here are errors, so a
//! package cannot quietly mean more than the rig sees.

use crate::parse::{Inf, Line, Section};
use crate::{Data, Entry, Error, Registry, Result, base_registry};

/// Where the test kernel's PnP manager looks up an id, with each `\` of the id as `#`.
pub const DRIVER_DATABASE: &str =
    "\\Registry\\Machine\\System\\CurrentControlSet\\Control\\TestKernel\\DriverDatabase";

const SERVICES: &str = "\\Registry\\Machine\\System\\CurrentControlSet\\Services";
const CLASSES: &str = "\\Registry\\Machine\\System\\CurrentControlSet\\Control\\Class";

const SPSVCINST_ASSOCSERVICE: u32 = 0x2;

const FLG_ADDREG_BINVALUETYPE: u32 = 0x1;
const FLG_ADDREG_NOCLOBBER: u32 = 0x2;
const FLG_ADDREG_APPEND: u32 = 0x8;
const FLG_ADDREG_KEYONLY: u32 = 0x10;
const FLG_ADDREG_KNOWN: u32 = 0xFFFF_0000
    | FLG_ADDREG_BINVALUETYPE
    | FLG_ADDREG_NOCLOBBER
    | FLG_ADDREG_APPEND
    | FLG_ADDREG_KEYONLY;

/// The lines that `registry.txt` has for a machine with this one package.
///
/// # Errors
///
/// As [`install`].
pub fn registry_from_inf(inf: &Inf) -> Result<Vec<Entry>> {
    let mut registry = base_registry();
    install(inf, &mut registry)?;
    Ok(registry.entries())
}

/// Installs `inf` into `registry`.
///
/// # Errors
///
/// A section that is named but missing, a malformed line, or a directive that is not known here.
pub fn install(inf: &Inf, registry: &mut Registry) -> Result {
    let class = need(inf, "Version", 0)?
        .value("ClassGuid")
        .ok_or_else(|| Error::new(0, "[Version] lacks ClassGuid"))?
        .to_owned();
    let mut models = 0;
    for line in &need(inf, "Manufacturer", 0)?.lines {
        let name = decorated_models(inf, line)?;
        for model in &name.lines {
            install_model(inf, registry, &class, model)?;
            models += 1;
        }
    }
    if models == 0 {
        return Err(Error::new(0, "no model for x64"));
    }
    Ok(())
}

/// `%Name% = base, NTamd64`: the models section for x64.
fn decorated_models<'a>(inf: &'a Inf, line: &Line) -> Result<&'a Section> {
    let x64 = line.fields[1..]
        .iter()
        .find(|decoration| decoration.to_ascii_lowercase().starts_with("ntamd64"));
    let name = match x64 {
        Some(decoration) => format!("{}.{decoration}", line.field(0)),
        None => return Err(Error::new(line.number, "no NTamd64 models section")),
    };
    need(inf, &name, line.number)
}

fn install_model(inf: &Inf, registry: &mut Registry, class: &str, model: &Line) -> Result {
    let base = best_section(inf, model.field(0), "")
        .ok_or_else(|| Error::new(model.number, format!("no section [{}]", model.field(0))))?;
    check_directives(base, &["AddReg", "CopyFiles", "FeatureScore"])?;
    let software = format!("{CLASSES}\\{class}\\0000");
    add_reg(inf, base, &software, registry)?;

    let services = best_section(inf, model.field(0), ".Services")
        .ok_or_else(|| Error::new(model.number, "the model installs no service"))?;
    check_directives(services, &["AddService"])?;
    let mut function = None;
    for line in services.lines_of("AddService") {
        install_service(inf, registry, line)?;
        if number(line, 1)? & SPSVCINST_ASSOCSERVICE != 0 {
            function = Some(line.field(0));
        }
    }
    let function =
        function.ok_or_else(|| Error::new(model.number, "the model has no function service"))?;

    for id in &model.fields[1..] {
        let key = format!("{DRIVER_DATABASE}\\{}", id.replace('\\', "#"));
        registry.set(&key, "Service", Data::Sz(function.into()))?;
        registry.set(&key, "ClassGuid", Data::Sz(class.into()))?;
        let text = model.key.clone().unwrap_or_default();
        registry.set(&key, "DeviceDesc", Data::Sz(text))?;
        if let Some(hardware) = best_section(inf, model.field(0), ".HW") {
            check_directives(hardware, &["AddReg"])?;
            let key = format!("{key}\\Device Parameters");
            add_reg(inf, hardware, &key, registry)?;
        }
    }
    Ok(())
}

fn install_service(inf: &Inf, registry: &mut Registry, line: &Line) -> Result {
    let name = line.field(0);
    let section = need(inf, line.field(2), line.number)?;
    check_directives(
        section,
        &[
            "DisplayName",
            "Description",
            "ServiceType",
            "StartType",
            "ErrorControl",
            "ServiceBinary",
            "LoadOrderGroup",
            "AddReg",
        ],
    )?;
    let key = format!("{SERVICES}\\{name}");
    registry.create(&key)?;
    for (directive, value) in [
        ("ServiceType", "Type"),
        ("StartType", "Start"),
        ("ErrorControl", "ErrorControl"),
    ] {
        let line = section.lines_of(directive).next().ok_or_else(|| {
            Error::new(line.number, format!("[{}] lacks {directive}", section.name))
        })?;
        registry.set(&key, value, Data::Dword(number(line, 0)?))?;
    }
    let binary = section.value("ServiceBinary").ok_or_else(|| {
        Error::new(
            line.number,
            format!("[{}] lacks ServiceBinary", section.name),
        )
    })?;
    let image = binary
        .strip_prefix("%12%\\")
        .ok_or_else(|| Error::new(line.number, "a driver's binary belongs into %12%"))?;
    let image = format!("\\SystemRoot\\System32\\drivers\\{image}");
    registry.set(&key, "ImagePath", Data::ExpandSz(image))?;
    for (directive, value) in [
        ("LoadOrderGroup", "Group"),
        ("DisplayName", "DisplayName"),
        ("Description", "Description"),
    ] {
        if let Some(text) = section.value(directive) {
            registry.set(&key, value, Data::Sz(text.into()))?;
        }
    }
    add_reg(inf, section, &key, registry)
}

/// Carries out the `AddReg` sections that `section` names; HKR stands for `relative`.
fn add_reg(inf: &Inf, section: &Section, relative: &str, registry: &mut Registry) -> Result {
    for line in section.lines_of("AddReg") {
        for name in &line.fields {
            for entry in &need(inf, name, line.number)?.lines {
                add_reg_line(entry, relative, registry)
                    .map_err(|error| Error::new(entry.number, error.what))?;
            }
        }
    }
    Ok(())
}

fn add_reg_line(line: &Line, relative: &str, registry: &mut Registry) -> Result {
    if line.key.is_some() {
        return Err(Error::new(line.number, "an AddReg line has no ="));
    }
    let sub = line.field(1);
    let root = match line.field(0).to_ascii_uppercase().as_str() {
        "HKR" => relative.to_owned(),
        "HKLM" => "\\Registry\\Machine".to_owned(),
        other => return Err(Error::new(line.number, format!("root {other:?}"))),
    };
    let key = match sub {
        "" => root,
        _ => format!("{root}\\{}", canonical(sub)),
    };
    let (name, flags) = (line.field(2), number(line, 3)?);
    if flags & !FLG_ADDREG_KNOWN != 0 {
        return Err(Error::new(line.number, format!("AddReg flags {flags:#x}")));
    }
    if flags & FLG_ADDREG_KEYONLY != 0 || line.fields.len() <= 2 {
        return registry.create(&key);
    }
    if flags & FLG_ADDREG_NOCLOBBER != 0 && registry.get(&key, name).is_some() {
        return Ok(());
    }
    let data = line.fields.get(4..).unwrap_or_default();
    let kind = flags & !(FLG_ADDREG_NOCLOBBER | FLG_ADDREG_APPEND);
    if flags & FLG_ADDREG_APPEND != 0 && kind != 0x0001_0000 {
        return Err(Error::new(
            line.number,
            "only a multi-string is appended to",
        ));
    }
    match kind {
        0x0000_0000 => registry.set(&key, name, Data::Sz(line.field(4).into())),
        0x0002_0000 => registry.set(&key, name, Data::ExpandSz(line.field(4).into())),
        0x0001_0000 if flags & FLG_ADDREG_APPEND != 0 => registry.append(&key, name, data),
        0x0001_0000 => registry.set(&key, name, Data::MultiSz(data.to_vec())),
        0x0001_0001 => registry.set(&key, name, Data::Dword(number(line, 4)?)),
        0x0000_0001 => registry.set(&key, name, Data::Binary(bytes(data, line.number)?)),
        other => Err(Error::new(line.number, format!("AddReg type {other:#x}"))),
    }
}

/// Spells the path's first component as the test kernel's own keys do.
fn canonical(path: &str) -> String {
    match path.split_once('\\') {
        Some((first, rest)) if first.eq_ignore_ascii_case("system") => format!("System\\{rest}"),
        _ => path.to_owned(),
    }
}

fn bytes(fields: &[String], line: usize) -> Result<Vec<u8>> {
    fields
        .iter()
        .map(|text| {
            u8::from_str_radix(text, 16).map_err(|_| Error::new(line, format!("byte {text:?}")))
        })
        .collect()
}

/// Field `index` as a number; an absent one is 0.
fn number(line: &Line, index: usize) -> Result<u32> {
    let text = line.field(index);
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None if text.is_empty() => Ok(0),
        None => text.parse(),
    };
    parsed.map_err(|_| Error::new(line.number, format!("{text:?} is no number")))
}

/// `[base.ntamd64<suffix>]`, `[base.nt<suffix>]` or `[base<suffix>]`, the first that exists.
fn best_section<'a>(inf: &'a Inf, base: &str, suffix: &str) -> Option<&'a Section> {
    [".ntamd64", ".nt", ""]
        .iter()
        .find_map(|decoration| inf.section(&format!("{base}{decoration}{suffix}")))
}

fn need<'a>(inf: &'a Inf, name: &str, line: usize) -> Result<&'a Section> {
    inf.section(name)
        .ok_or_else(|| Error::new(line, format!("no section [{name}]")))
}

fn check_directives(section: &Section, known: &[&str]) -> Result {
    for line in &section.lines {
        let key = line.key.as_deref().unwrap_or("(no directive)");
        if !known.iter().any(|name| name.eq_ignore_ascii_case(key)) {
            return Err(Error::new(
                line.number,
                format!("[{}]: {key} is not known here", section.name),
            ));
        }
    }
    Ok(())
}
