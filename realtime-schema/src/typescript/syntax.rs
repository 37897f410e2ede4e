//! The TypeScript types that schemas need, and their text.

use super::doc::Doc;

/// A TypeScript type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    /// A type that is written unchanged: `number`, `unknown`, the literal `"a"`.
    Plain(String),
    /// A named type.
    Named(String),
    Array(Box<Type>),
    Tuple(Tuple),
    Object(Object),
    Union(Vec<Member>),
    Intersection(Vec<Type>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tuple {
    pub(super) items: Vec<Type>,
    /// The number of items that are always present.
    pub(super) required: usize,
    pub(super) rest: Option<Box<Type>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object {
    /// Sorted by name.
    pub(super) fields: Vec<Field>,
    pub(super) indices: Vec<Index>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) optional: bool,
    pub(super) of: Type,
    pub(super) doc: Doc,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Index {
    pub(super) key: Key,
    pub(super) of: Type,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Text,
    Number,
}

/// One of the types of a union.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) of: Type,
    pub(super) doc: Doc,
}

impl Type {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::Plain(text.into())
    }

    pub(super) fn unknown() -> Self {
        Self::plain("unknown")
    }

    pub(super) fn never() -> Self {
        Self::plain("never")
    }

    pub(super) fn is_plain(&self, text: &str) -> bool {
        matches!(self, Self::Plain(plain) if plain == text)
    }

    /// Creates a union without duplicates; `unknown` absorbs all other members.
    pub(super) fn union(members: impl IntoIterator<Item = Member>) -> Self {
        let mut flat: Vec<Member> = Vec::new();
        for member in members {
            let inner = match member.of {
                Self::Union(inner) if member.doc.is_empty() => inner,
                of => vec![Member { of, doc: member.doc }],
            };
            for member in inner {
                let is_new = flat.iter().all(|known| known.of != member.of);
                if is_new && !member.of.is_plain("never") {
                    flat.push(member);
                }
            }
        }
        if flat.iter().any(|member| member.of.is_plain("unknown")) {
            return Self::unknown();
        }
        match flat.len() {
            0 => Self::never(),
            1 if flat[0].doc.is_empty() => flat.remove(0).of,
            _ => Self::Union(flat),
        }
    }

    pub(super) fn union_of(types: impl IntoIterator<Item = Self>) -> Self {
        Self::union(types.into_iter().map(Member::from))
    }

    /// Returns the type for a definition called `name`, without references to itself among its variants.
    pub(super) fn called(self, name: &str) -> Self {
        let is_itself = |of: &Self| matches!(of, Self::Named(own) if own == name);
        match self {
            of if is_itself(&of) => Self::never(),
            Self::Union(members) => Self::union(members.into_iter().filter(|member| !is_itself(&member.of))),
            of => of,
        }
    }

    pub(super) fn intersection(mut types: Vec<Self>) -> Self {
        types.retain(|of| !of.is_plain("unknown"));
        match types.len() {
            0 => Self::unknown(),
            1 => types.remove(0),
            _ => Self::Intersection(types),
        }
    }

    /// Writes the type, the lines after the first indented by `depth`.
    pub(super) fn write(&self, depth: usize) -> String {
        match self {
            Self::Plain(text) | Self::Named(text) => text.clone(),
            Self::Array(of) => format!("{}[]", of.write_tightly(depth)),
            Self::Tuple(tuple) => tuple.write(depth),
            Self::Object(object) => object.write(depth),
            Self::Union(members) => write_union(members, depth),
            Self::Intersection(types) => {
                types.iter().map(|of| of.write_tightly(depth)).collect::<Vec<_>>().join(" & ")
            }
        }
    }

    /// Writes the type in parentheses if its operator binds less tightly than its context.
    fn write_tightly(&self, depth: usize) -> String {
        match self {
            Self::Union(_) | Self::Intersection(_) => format!("({})", self.write(depth)),
            _ => self.write(depth),
        }
    }
}

impl From<Type> for Member {
    fn from(of: Type) -> Self {
        Self { of, doc: Doc::default() }
    }
}

impl Tuple {
    fn write(&self, depth: usize) -> String {
        let mut items: Vec<String> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            let item =
                if index < self.required { item.write(depth) } else { format!("{}?", item.write_tightly(depth)) };
            items.push(item);
        }
        if let Some(rest) = &self.rest {
            items.push(format!("...{}[]", rest.write_tightly(depth)));
        }
        format!("[{}]", items.join(", "))
    }
}

impl Object {
    fn write(&self, depth: usize) -> String {
        let mut lines = Vec::new();
        for index in &self.indices {
            let key = match index.key {
                Key::Text => "string",
                Key::Number => "`${number}`",
            };
            lines.push(format!("[key: {key}]: {}", index.of.write(depth + 1)));
        }
        for field in &self.fields {
            lines.push(field.write(depth + 1));
        }
        match lines.as_slice() {
            [] => "{ [key: string]: unknown }".to_owned(),
            _ if fits(&lines, depth) => format!("{{ {} }}", lines.join("; ")),
            _ => {
                let indent = "  ".repeat(depth);
                let body: String = lines.iter().map(|line| format!("{indent}  {line};\n")).collect();
                format!("{{\n{body}{indent}}}")
            }
        }
    }
}

/// Returns true if the fields of an object fit on one line.
fn fits(lines: &[String], depth: usize) -> bool {
    let width: usize = lines.iter().map(|line| line.len() + 2).sum();
    width + 2 * depth < WIDTH && lines.iter().all(|line| !line.contains('\n'))
}

impl Field {
    fn write(&self, depth: usize) -> String {
        let mark = if self.optional { "?" } else { "" };
        let name = format!("{}{}{mark}:", self.doc.write(depth), quoted_name(&self.name));
        before(&name, &self.of.write(depth))
    }
}

/// Puts a prefix before a type, without a space at the end of a line.
pub(super) fn before(what: &str, of: &str) -> String {
    if of.starts_with('\n') { format!("{what}{of}") } else { format!("{what} {of}") }
}

fn write_union(members: &[Member], depth: usize) -> String {
    let write = |member: &Member, depth: usize| match member.of {
        Type::Intersection(_) | Type::Union(_) => member.of.write_tightly(depth),
        _ => member.of.write(depth),
    };
    let line = members.iter().map(|member| write(member, depth)).collect::<Vec<_>>().join(" | ");
    let is_said = members.iter().any(|member| !member.doc.is_empty());
    if !is_said && !line.contains('\n') && line.len() + 2 * depth < WIDTH {
        return line;
    }
    let indent = "  ".repeat(depth + 1);
    let variant = |member: &Member| {
        let doc = member.doc.write(depth + 1);
        format!("\n{indent}{doc}| {}", write(member, depth + 1))
    };
    members.iter().map(variant).collect()
}

/// The width of a line.
const WIDTH: usize = 100;

/// Returns the name of a field, in quotes unless it is an identifier.
pub(super) fn quoted_name(name: &str) -> String {
    if is_identifier(name) { name.to_owned() } else { text_literal(name) }
}

/// Returns the name of a field of a value. `__proto__: x` and `"__proto__": x` would set the object's prototype.
pub(super) fn value_name(name: &str) -> String {
    if name == "__proto__" { format!("[{}]", text_literal(name)) } else { quoted_name(name) }
}

/// Returns a TypeScript string. A JSON string is one, once line separators are escaped.
pub(super) fn text_literal(text: &str) -> String {
    let json = serde_json::to_string(text).expect("a string can be written");
    json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// Returns true if a name needs no quotes. Letters beyond ASCII are quoted, although TypeScript allows them.
pub(super) fn is_identifier(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == '$');
    starts && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_' || one == '$')
}
