// SPDX-License-Identifier: BSD-2-Clause
//! Writes a C header from the model of an interface.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use syn::{GenericArgument, PathArguments, PointerMutability, Type};

use super::Unit;
use super::model::{Declaration, Doc, Field, Function, Interface, camel, path, shout};
use super::text::Comments;

/// Columns of a header's lines.
const WIDTH: usize = 110;

/// The header of `interface`; `others` are those whose types it uses.
pub(super) fn header(unit: &Unit, interface: &Interface, others: &[&Interface]) -> Result<String> {
    let mut names: Vec<&HashMap<String, String>> = vec![&interface.names];
    names.extend(others.iter().map(|other| &other.names));
    let emitter = Emitter {
        interface,
        comments: Comments::new(interface, WIDTH),
        names,
        published: unit.published,
    };
    emitter.header(unit)
}

struct Emitter<'a> {
    interface: &'a Interface,
    comments: Comments,
    names: Vec<&'a HashMap<String, String>>,
    published: bool,
}

impl Emitter<'_> {
    fn header(&self, unit: &Unit) -> Result<String> {
        let name = &self.interface.name;
        let guard = format!("_{name}_INTERFACE_H");
        let mut out = format!(
            "// SPDX-License-Identifier: BSD-2-Clause\n\
             // Made by `cargo xtask headers` from include/src/{}.rs: change that file.\n//\n",
            self.interface.module
        );
        out += &self.comments.block(&self.interface.doc);
        out += &format!("\n#ifndef {guard}\n#define {guard}\n\n");
        if unit.includes.is_empty() {
            out += "// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.\n#include <guiddef.h>\n\n";
        }
        for file in unit.includes {
            out += &format!("#include \"{file}\"\n\n");
        }
        out += "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
        out += &self.guid();
        let (min, max) = self.interface.versions;
        out += &format!(
            "#define {name}_INTERFACE_VERSION_MIN {min}\n#define {name}_INTERFACE_VERSION_MAX {max}\n"
        );
        for declaration in &self.interface.declarations {
            out.push('\n');
            out += &self.declaration(declaration)?;
        }
        out += &format!(
            "\n// The newest version.\ntypedef struct _{name}_INTERFACE_V{max} {name}_INTERFACE, *P{name}_INTERFACE;\n"
        );
        out += &self.call();
        out += &format!("\n#ifdef __cplusplus\n}}\n#endif\n\n#endif // {guard}\n");
        Ok(out)
    }

    fn guid(&self) -> String {
        let value = self.interface.guid;
        let tail: Vec<String> = (value as u64)
            .to_be_bytes()
            .iter()
            .map(|byte| format!("0x{byte:02x}"))
            .collect();
        let name = &self.interface.name;
        format!(
            "// {{{:08X}-{:04X}-{:04X}-{:04X}-{:012X}}}\nDEFINE_GUID(GUID_{name}_INTERFACE, 0x{:08x}, 0x{:04x}, 0x{:04x},\n    {});\n\n",
            value >> 96,
            value >> 80 & 0xffff,
            value >> 64 & 0xffff,
            value >> 48 & 0xffff,
            value & 0xffff_ffff_ffff,
            value >> 96,
            value >> 80 & 0xffff,
            value >> 64 & 0xffff,
            tail.join(", "),
        )
    }

    /// The macro that calls a method: the table is its own first argument.
    fn call(&self) -> String {
        let name = &self.interface.name;
        let first = self
            .interface
            .declarations
            .iter()
            .find_map(|item| match item {
                Declaration::Method(member, _, function) => {
                    Some((member, function.parameters.first()?.0.as_str()))
                }
                _ => None,
            });
        let (prefix, kind) = match first {
            Some((member, first)) => (
                member.trim_end_matches("Acquire"),
                if first == "Interface" {
                    "PINTERFACE"
                } else {
                    "PVOID"
                },
            ),
            None => ("", "PINTERFACE"),
        };
        let paste = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix} ## ")
        };
        let example = if prefix.is_empty() {
            "GetCount"
        } else {
            "Acquire"
        };
        format!(
            "\n// Calls a method: {name}({example}, &Interface).\n\
             #define {name}(_Method, _Interface, ...) \\\n    \
             (_Interface)->{paste}_Method(({kind})(_Interface), ## __VA_ARGS__)\n"
        )
    }

    fn declaration(&self, item: &Declaration) -> Result<String> {
        Ok(match item {
            Declaration::Enum(name, doc, constants) => {
                let mut out = self.comment(doc, "");
                out += &format!("typedef enum _{name} {{\n");
                for (constant, value, doc) in constants {
                    out += &self.comment(doc, "    ");
                    out += &format!("    {constant} = {value},\n");
                }
                // A trailing comma is an error to old compilers.
                out.truncate(out.len() - 2);
                out + &format!("\n}} {name}, *P{name};\n")
            }
            Declaration::Number(name, value, doc) => {
                self.comment(doc, "") + &format!("#define {name} {value}\n")
            }
            Declaration::Opaque(name, doc) => {
                self.comment(doc, "") + &format!("typedef struct _{name} {name}, *P{name};\n")
            }
            Declaration::Struct(name, doc, fields) => {
                let mut out = self.comment(doc, "");
                out += &format!("typedef struct _{name} {{\n");
                for field in fields {
                    let kind = self.kind(&field.kind).context(field.name.clone())?;
                    out += &format!("    {};\n", declare(&kind, &field.name));
                }
                out + &format!("}} {name}, *P{name};\n")
            }
            Declaration::Callback(name, doc, function) => {
                self.comment(doc, "") + &self.function(name, function)?
            }
            Declaration::Method(member, doc, function) => {
                self.comment(doc, "") + &self.function(&self.method(member), function)?
            }
            Declaration::Table(_, version, doc, fields) => {
                let mut out = self.comment(doc, "");
                out += &format!("struct _{}_INTERFACE_V{version} {{\n", self.interface.name);
                let width = fields
                    .iter()
                    .map(|field| self.method(&field.name).len())
                    .max();
                let width = width.unwrap_or(0);
                out += &format!("    {:width$} Interface;\n", "INTERFACE");
                for Field { name, .. } in fields {
                    out += &format!("    {:width$} {name};\n", self.method(name));
                }
                out + "};\n"
            }
        })
    }

    /// Type of the method that a table calls `member`.
    fn method(&self, member: &str) -> String {
        let (family, own) = self.interface.name.split_once('_').unwrap_or_default();
        let own_camel = camel(&own.to_lowercase());
        let rest = member.strip_prefix(&own_camel).unwrap_or(member);
        format!("{family}_{own}_{}", shout(rest))
    }

    fn comment(&self, doc: &Doc, indent: &str) -> String {
        self.comments.indented(&doc.text, indent)
    }

    fn function(&self, name: &str, function: &Function) -> Result<String> {
        let result = match &function.result {
            None => "VOID".to_owned(),
            Some(kind) => self.kind(kind)?,
        };
        let mut parameters = Vec::new();
        for (parameter, kind) in &function.parameters {
            let kind = self
                .kind(kind)
                .with_context(|| format!("{name}: {parameter}"))?;
            parameters.push(declare(&kind, parameter));
        }
        if function.variadic {
            parameters.push("...".to_owned());
        }
        Ok(format!(
            "typedef {result} (*{name})(\n    {}\n    );\n",
            parameters.join(",\n    ")
        ))
    }

    /// The C form of a Rust type.
    fn kind(&self, kind: &Type) -> Result<String> {
        if let Type::Ptr(pointer) = kind {
            let constant = matches!(pointer.mutability, PointerMutability::Const(_));
            if let Type::Ptr(inner) = &*pointer.elem {
                return Ok(self.kind(&Type::Ptr(inner.clone()))? + " *");
            }
            let name = path(&pointer.elem).context("a pointer to what has no name")?;
            return Ok(match name.as_str() {
                "c_void" => "PVOID".to_owned(),
                "c_char" => "PSTR".to_owned(),
                "Interface" => "PINTERFACE".to_owned(),
                "KEvent" => "PKEVENT".to_owned(),
                "PhysicalAddress" => "PHYSICAL_ADDRESS *".to_owned(),
                _ => {
                    let base = self.scalar(&name)?;
                    if constant && !self.published {
                        format!("const {base} *")
                    } else {
                        format!("P{base}")
                    }
                }
            });
        }
        if let Type::Path(named) = kind
            && let Some(last) = named.path.segments.last()
            && last.ident == "Option"
            && let PathArguments::AngleBracketed(arguments) = &last.arguments
            && let Some(GenericArgument::Type(inner)) = arguments.args.first()
        {
            return self.kind(inner);
        }
        self.scalar(&path(kind).context("a type without a name")?)
    }

    fn scalar(&self, name: &str) -> Result<String> {
        let plain = match name {
            "u8" => "UCHAR",
            "u16" => "USHORT",
            "u32" => "ULONG",
            "u64" => "ULONGLONG",
            "i64" => "LONGLONG",
            "Boolean" => "BOOLEAN",
            "NtStatus" => "NTSTATUS",
            "PStr" => "PSTR",
            "PCStr" => "PCSTR",
            "PfnNumber" => "PFN_NUMBER",
            "PhysicalAddress" => "PHYSICAL_ADDRESS",
            "LargeInteger" => "LARGE_INTEGER",
            _ => match self.names.iter().find_map(|names| names.get(name)) {
                Some(found) => found,
                None => bail!("no C name for {name}"),
            },
        };
        Ok(plain.to_owned())
    }
}

/// `ULONG Count` or `PSTR *Buffer`.
fn declare(kind: &str, name: &str) -> String {
    if kind.ends_with('*') {
        format!("{kind}{name}")
    } else {
        format!("{kind} {name}")
    }
}
