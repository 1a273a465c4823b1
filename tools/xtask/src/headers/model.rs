// SPDX-License-Identifier: BSD-2-Clause
//! Reads one interface module of the crate `xenbus-interface` into a model of its C header.
//!
//! The Rust source is the one definition. A doc comment of a public item that has a C name begins with that name in
//! backticks; an item without one stays in Rust. What the Rust type cannot tell (a BOOLEAN from a UCHAR) is told by the
//! aliases in `include/src/interface.rs`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use syn::{Attribute, Expr, Fields, Item, Lit, Meta, ReturnType, Type};

/// A doc comment: the C name that it begins with, and the rest.
#[derive(Clone, Debug, Default)]
pub(super) struct Doc {
    /// The C name.
    pub(super) name: Option<String>,
    /// Paragraphs, one line each.
    pub(super) text: Vec<String>,
}

/// A function pointer's parameters and result.
#[derive(Clone, Debug)]
pub(super) struct Function {
    /// Name and Rust type, without the variadic part.
    pub(super) parameters: Vec<(String, Type)>,
    /// Whether more arguments may follow.
    pub(super) variadic: bool,
    /// `None` for `VOID`.
    pub(super) result: Option<Type>,
}

/// A method slot of a table, or a field of a structure.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Its Rust name.
    pub(super) rust: String,
    /// Its C name.
    pub(super) name: String,
    /// Its Rust type.
    pub(super) kind: Type,
}

/// One public item with a C name, in the order of the source.
#[derive(Clone, Debug)]
pub(super) enum Declaration {
    /// An enumeration: C name, doc, and its constants.
    Enum(String, Doc, Vec<(String, u64, Doc)>),
    /// A number: C name, value.
    Number(String, u64, Doc),
    /// A structure that requesters only point to.
    Opaque(String, Doc),
    /// A structure with fields.
    Struct(String, Doc, Vec<Field>),
    /// A callback's type.
    Callback(String, Doc, Function),
    /// A method's type; the name is the member's.
    Method(String, Doc, Function),
    /// The table of one version: Rust name, version.
    Table(String, u16, Doc, Vec<Field>),
}

/// One interface.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    /// The Rust module.
    pub(super) module: String,
    /// `XENBUS_STORE`.
    pub(super) name: String,
    /// The number that the GUID's text spells.
    pub(super) guid: u128,
    /// Oldest and newest version.
    pub(super) versions: (u16, u16),
    /// Paragraphs of the module's doc.
    pub(super) doc: Vec<String>,
    /// What the header declares.
    pub(super) declarations: Vec<Declaration>,
    /// C names of Rust items and of their fields.
    pub(super) names: HashMap<String, String>,
}

impl Interface {
    /// Reads `include/src/<module>.rs`.
    pub(super) fn read(folder: &Path, module: &str) -> Result<Self> {
        let path = folder.join(module).with_extension("rs");
        let source = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Self::parse(module, &source).with_context(|| path.display().to_string())
    }

    /// Reads a module's source.
    pub(super) fn parse(module: &str, source: &str) -> Result<Self> {
        let file = syn::parse_file(source)?;
        let mut reader = Reader::default();
        for item in &file.items {
            reader.names(item)?;
        }
        for item in &file.items {
            reader.declare(item)?;
        }
        let guid = reader.guid.context("no GUID")?;
        let interface = guid
            .1
            .strip_prefix("GUID_")
            .and_then(|name| name.strip_suffix("_INTERFACE"))
            .with_context(|| format!("{} is no interface's name", guid.1))?;
        Ok(Self {
            module: module.to_owned(),
            name: interface.to_owned(),
            guid: guid.0,
            versions: (
                reader.min.context("no VERSION_MIN")?,
                reader.max.context("no VERSION_MAX")?,
            ),
            doc: doc(&file.attrs).text,
            declarations: reader.declarations,
            names: reader.c_names,
        })
    }

    /// The tables, oldest first.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, u16, &[Field])> {
        self.declarations.iter().filter_map(|item| match item {
            Declaration::Table(rust, version, _, fields) => {
                Some((rust.as_str(), *version, fields.as_slice()))
            }
            _ => None,
        })
    }
}

#[derive(Default)]
struct Reader {
    guid: Option<(u128, String)>,
    min: Option<u16>,
    max: Option<u16>,
    declarations: Vec<Declaration>,
    c_names: HashMap<String, String>,
    functions: HashMap<String, Function>,
    /// Members of tables: C names by the name of the method's type.
    members: HashMap<String, String>,
}

impl Reader {
    /// First pass: what has which C name, and which types are functions.
    fn names(&mut self, item: &Item) -> Result<()> {
        let (ident, doc) = match item {
            Item::Type(item) => {
                if let Some(function) = function(&item.ty)? {
                    self.functions.insert(item.ident.to_string(), function);
                } else if let Some(other) = path(&item.ty).and_then(|n| self.functions.get(&n)) {
                    let same = other.clone();
                    self.functions.insert(item.ident.to_string(), same);
                }
                (&item.ident, doc(&item.attrs))
            }
            Item::Const(item) => (&item.ident, doc(&item.attrs)),
            Item::Struct(item) => {
                if is_table(&item.fields) {
                    for field in fields(&item.fields)?.iter().skip(1) {
                        let kind = path(&field.kind).context("a method without a type's name")?;
                        let key = format!("{}::{}", item.ident, field.rust);
                        self.c_names.insert(key, field.name.clone());
                        // The same in every version that has it.
                        self.c_names
                            .entry(field.rust.clone())
                            .or_insert(field.name.clone());
                        if let Some(old) = self.members.insert(kind.clone(), field.name.clone()) {
                            ensure!(old == field.name, "{kind} is {old} and {}", field.name);
                        }
                    }
                }
                (&item.ident, doc(&item.attrs))
            }
            _ => return Ok(()),
        };
        if let Some(name) = doc.name {
            self.c_names.insert(ident.to_string(), name);
        }
        Ok(())
    }

    /// Second pass.
    fn declare(&mut self, item: &Item) -> Result<()> {
        match item {
            Item::Type(item) => self.alias(&item.ident.to_string(), doc(&item.attrs)),
            Item::Const(item) => self.constant(item),
            Item::Struct(item) => self.structure(item),
            _ => Ok(()),
        }
    }

    fn alias(&mut self, rust: &str, doc: Doc) -> Result<()> {
        let Some(name) = doc.name.clone() else {
            return Ok(());
        };
        let declaration = match self.functions.get(rust) {
            Some(function) => match self.members.get(rust) {
                Some(member) => {
                    ensure!(*member == name, "{rust} is {name}, its member {member}");
                    Declaration::Method(name, doc, function.clone())
                }
                // What NT itself declares.
                None if name.starts_with("PK") => return Ok(()),
                None => Declaration::Callback(name, doc, function.clone()),
            },
            None => Declaration::Enum(name, doc, Vec::new()),
        };
        self.declarations.push(declaration);
        Ok(())
    }

    fn constant(&mut self, item: &syn::ItemConst) -> Result<()> {
        let doc = doc(&item.attrs);
        match item.ident.to_string().as_str() {
            "GUID" => {
                let Expr::Call(call) = &*item.expr else {
                    bail!("GUID is not made by a call");
                };
                let value = call.args.first().context("a GUID of nothing")?;
                self.guid = Some((number(value)?, doc.name.context("GUID has no C name")?));
            }
            "VERSION_MIN" => self.min = Some(number(&item.expr)?.try_into()?),
            "VERSION_MAX" => self.max = Some(number(&item.expr)?.try_into()?),
            _ => {
                let Some(name) = doc.name.clone() else {
                    return Ok(());
                };
                let value = number(&item.expr)?.try_into()?;
                let of = path(&item.ty).and_then(|kind| self.c_names.get(&kind).cloned());
                match (of, self.declarations.last_mut()) {
                    (Some(of), Some(Declaration::Enum(last, _, constants))) if *last == of => {
                        constants.push((name, value, doc));
                    }
                    (Some(of), _) => bail!("{name} does not follow {of}"),
                    (None, _) => self
                        .declarations
                        .push(Declaration::Number(name, value, doc)),
                }
            }
        }
        Ok(())
    }

    fn structure(&mut self, item: &syn::ItemStruct) -> Result<()> {
        let doc = doc(&item.attrs);
        let Some(name) = doc.name.clone() else {
            return Ok(());
        };
        let mut members = fields(&item.fields)?;
        self.declarations.push(if is_table(&item.fields) {
            let version = name
                .rsplit_once("_V")
                .and_then(|(_, version)| version.parse().ok())
                .with_context(|| format!("{name} names no version"))?;
            Declaration::Table(item.ident.to_string(), version, doc, members.split_off(1))
        } else if members.first().is_some_and(|field| field.rust == "_opaque") {
            Declaration::Opaque(name, doc)
        } else {
            Declaration::Struct(name, doc, members)
        });
        Ok(())
    }
}

/// The last segment of a path type.
pub(super) fn path(kind: &Type) -> Option<String> {
    match kind {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    }
}

fn is_table(fields: &Fields) -> bool {
    fields
        .iter()
        .next()
        .is_some_and(|first| first.ident.as_ref().is_some_and(|name| name == "interface"))
}

fn fields(all: &Fields) -> Result<Vec<Field>> {
    all.iter()
        .map(|field| {
            let rust = field
                .ident
                .as_ref()
                .context("a field without a name")?
                .to_string();
            let name = doc(&field.attrs).name.unwrap_or_else(|| camel(&rust));
            Ok(Field {
                rust,
                name,
                kind: field.ty.clone(),
            })
        })
        .collect()
}

fn function(kind: &Type) -> Result<Option<Function>> {
    let Type::FnPtr(bare) = kind else {
        return Ok(None);
    };
    let mut parameters = Vec::new();
    let mut variadic = bare.variadic.is_some();
    for input in &bare.inputs {
        let (ident, _) = input.name.as_ref().context("a parameter without a name")?;
        let rust = ident.to_string();
        if rust.starts_with("slot") {
            // Stands for the variadic part where Rust spells its slots.
            variadic = true;
            continue;
        }
        let name = match rust.as_str() {
            "this" => "Interface".to_owned(),
            other => camel(other.trim_start_matches("r#")),
        };
        parameters.push((name, input.ty.clone()));
    }
    let result = match &bare.output {
        ReturnType::Default => None,
        ReturnType::Type(_, kind) => Some((**kind).clone()),
    };
    Ok(Some(Function {
        parameters,
        variadic,
        result,
    }))
}

fn number(expression: &Expr) -> Result<u128> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(value) => Ok(value.base10_parse()?),
            _ => bail!("not a number"),
        },
        _ => bail!("not a literal"),
    }
}

/// `number_pages` as C writes it: `NumberPages`.
pub(super) fn camel(snake: &str) -> String {
    snake
        .split('_')
        .map(|word| match word {
            // As published.
            "id" => "ID".to_owned(),
            _ => {
                let (first, rest) = word.split_at(word.len().min(1));
                first.to_uppercase() + rest
            }
        })
        .collect()
}

/// `NumberPages` as constants are written: `NUMBER_PAGES`.
pub(super) fn shout(camel: &str) -> String {
    let mut out = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

/// Splits a doc comment into the C name that it begins with and its paragraphs.
fn doc(attributes: &[Attribute]) -> Doc {
    let lines: Vec<String> = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
        .collect();
    let mut out = Doc::default();
    let mut fresh = true;
    let mut code = false;
    for line in lines {
        let line = line.strip_prefix(' ').unwrap_or(&line);
        if line.starts_with("```") {
            code = !code;
            fresh = true;
            continue;
        }
        let line = line.trim_start_matches("# ");
        let item = line.starts_with("* ");
        if line.is_empty() {
            fresh = true;
        } else if fresh || item || code {
            out.text.push(line.to_owned());
            fresh = code;
        } else if let Some(last) = out.text.last_mut() {
            last.push(' ');
            last.push_str(line.trim_start());
        }
    }
    if let Some(first) = out.text.first().cloned()
        && let Some((name, rest)) = first
            .strip_prefix('`')
            .and_then(|text| text.split_once('`'))
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_uppercase())
    {
        out.name = Some(name.to_owned());
        match rest.trim_start_matches([':', '.', ' ']) {
            "" => {
                out.text.remove(0);
            }
            text => out.text[0] = text.to_owned(),
        }
    }
    out
}
