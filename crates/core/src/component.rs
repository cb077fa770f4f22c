//! Components by name: a [`Spec`] from a TOML table, [`Options`] with defaults and docs, and a
//! [`Catalog`] that builds the component.
//!
//! Registration is a function call, no linker magic. [`options!`](crate::options) declares a
//! component's options once; defaults, parsing, error messages and the reference pages all come
//! from that declaration.

use crate::{Error, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A component asked for by name, with its options as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Section of the config, as in `quantizer`; prefixes keys in errors.
    pub section: String,
    /// The component's name, as in `rq-kmeans`.
    pub name: String,
    /// Options as written.
    pub options: Map<String, Value>,
}

impl Spec {
    /// A spec without options.
    pub fn new(section: &str, name: &str) -> Self {
        Spec { section: section.into(), name: name.into(), options: Map::new() }
    }

    /// Sets an option.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }

    /// From a config table `{type = "name", ...}`.
    pub fn from_table(section: &str, mut table: Map<String, Value>) -> Result<Self> {
        match table.remove("type") {
            Some(Value::String(name)) => Ok(Spec { section: section.into(), name, options: table }),
            Some(other) => Err(Error::config(
                format!("{section}.type"),
                format!("expected a component name in quotes, got {other}"),
            )),
            None => Err(Error::config(format!("{section}.type"), "missing: name the component")),
        }
    }

    /// From the short form `name` or `name@10`; the number becomes option `k`.
    pub fn from_short(section: &str, text: &str) -> Result<Self> {
        let Some((name, k)) = text.split_once('@') else {
            return Ok(Spec::new(section, text));
        };
        let k: u64 = k.parse().ok().filter(|&k| k > 0).ok_or_else(|| {
            Error::config(section, format!("`{text}`: expected a whole number above 0 after `@`"))
        })?;
        Ok(Spec::new(section, name).with("k", k))
    }
}

/// One option of a component, for reference pages.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct OptionDoc {
    /// Key in the config.
    pub name: &'static str,
    /// Rust type as written.
    pub ty: &'static str,
    /// What it does, its range and its source.
    pub doc: String,
    /// Default as JSON.
    pub default: Value,
}

/// A struct of options, declared with [`options!`](crate::options).
pub trait Options: Sized {
    /// Reads a spec: unknown keys and wrong types are errors that name the key.
    fn from_spec(spec: &Spec) -> Result<Self>;
    /// All options with defaults and docs.
    fn describe() -> Vec<OptionDoc>;
    /// All options with their values.
    fn to_map(&self) -> Map<String, Value>;
}

/// Declares a component's options: documented fields with defaults.
///
/// ```
/// sidereal_core::options! {
///     /// Options of a toy quantizer.
///     pub struct ToyOptions {
///         /// Codes per level, 1 to 65536.
///         pub width: u32 = 256,
///     }
/// }
/// use sidereal_core::{Options, Spec};
/// let toy = ToyOptions::from_spec(&Spec::new("quantizer", "toy").with("width", 8)).unwrap();
/// assert_eq!(toy.width, 8);
/// let err = ToyOptions::from_spec(&Spec::new("quantizer", "toy").with("widht", 8)).unwrap_err();
/// assert!(err.to_string().contains("did you mean `width`"));
/// ```
#[macro_export]
macro_rules! options {
    ($(#[doc = $sdoc:literal])* $vis:vis struct $name:ident {
        $($(#[doc = $doc:literal])* $fvis:vis $field:ident : $ty:ty = $default:expr),* $(,)?
    }) => {
        $(#[doc = $sdoc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name { $($(#[doc = $doc])* $fvis $field: $ty),* }

        impl Default for $name {
            fn default() -> Self { $name { $($field: $default),* } }
        }

        impl $crate::Options for $name {
            #[allow(unused_mut, unused_variables)]
            fn from_spec(spec: &$crate::Spec) -> $crate::Result<Self> {
                let mut out = Self::default();
                $crate::component::check_keys(spec, &[$(stringify!($field)),*])?;
                $(if let Some(v) = $crate::component::read(spec, stringify!($field), stringify!($ty))? {
                    out.$field = v;
                })*
                Ok(out)
            }
            fn describe() -> Vec<$crate::OptionDoc> {
                let map = $crate::Options::to_map(&Self::default());
                let _ = &map;
                vec![$($crate::OptionDoc {
                    name: stringify!($field),
                    ty: stringify!($ty),
                    doc: concat!($($doc, "\n"),*).trim().to_string(),
                    default: map[stringify!($field)].clone(),
                }),*]
            }
            #[allow(unused_mut)]
            fn to_map(&self) -> $crate::serde_json::Map<String, $crate::serde_json::Value> {
                let mut map = $crate::serde_json::Map::new();
                $(map.insert(stringify!($field).to_string(),
                    $crate::serde_json::to_value(&self.$field).unwrap_or_default());)*
                map
            }
        }
    };
}

/// Refuses options that a component does not have. Part of [`options!`](crate::options).
pub fn check_keys(spec: &Spec, known: &[&str]) -> Result<()> {
    for key in spec.options.keys() {
        if !known.contains(&key.as_str()) {
            return Err(Error::UnknownOption {
                key: format!("{}.{key}", spec.section),
                known: known.iter().map(|k| k.to_string()).collect(),
                nearest: nearest(key, known.iter().copied()),
            });
        }
    }
    Ok(())
}

/// Reads one option if it was written. Part of [`options!`](crate::options).
pub fn read<T: serde::de::DeserializeOwned>(spec: &Spec, key: &str, ty: &str) -> Result<Option<T>> {
    let Some(value) = spec.options.get(key) else { return Ok(None) };
    serde_json::from_value(value.clone()).map(Some).map_err(|e| {
        Error::config(
            format!("{}.{key}", spec.section),
            format!("expected {}, got {value} ({e})", ty.replace(' ', "")),
        )
    })
}

/// The closest known name, when one is close enough to be a slip.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(d, k)| *d <= (k.chars().count().max(name.chars().count()) / 3).max(2))
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k.to_string())
}

/// A component inside another one, as an option: a name, or a table with a `type`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Inner {
    /// A name: the component with its defaults.
    Name(String),
    /// A table `{type = "name", ...}`.
    Table(Map<String, Value>),
}

impl Inner {
    /// The component asked for; `section` prefixes keys in errors, as in `quantizer.parts`.
    pub fn spec(&self, section: &str) -> Result<Spec> {
        match self {
            Inner::Name(name) => Ok(Spec::new(section, name)),
            Inner::Table(table) => Spec::from_table(section, table.clone()),
        }
    }
}

/// Options of these types hold components; [`Catalog::resolve`] fills in their defaults too.
const INNER: [&str; 3] = ["Inner", "Option<Inner>", "Vec<Inner>"];

type Build<T, C> = Box<dyn Fn(&Spec, &C, &Catalog<T, C>) -> Result<Box<T>> + Send + Sync>;
type Resolve = Box<dyn Fn(&Spec) -> Result<Map<String, Value>> + Send + Sync>;

/// A named component: docs, options and how to build it from a context `C`.
pub struct Entry<T: ?Sized, C> {
    /// Name in configs, kebab-case.
    pub name: String,
    /// Crate that registered it.
    pub origin: String,
    /// One line for people; the paper it comes from.
    pub doc: String,
    /// Options with defaults.
    pub options: Vec<OptionDoc>,
    build: Build<T, C>,
    resolve: Resolve,
}

impl<T: ?Sized, C> Entry<T, C> {
    /// An entry whose component is built from options `O`. `origin` is `env!("CARGO_PKG_NAME")`.
    pub fn new<O: Options + 'static>(
        name: &str,
        origin: &str,
        doc: &str,
        build: impl Fn(O, &C) -> Result<Box<T>> + Send + Sync + 'static,
    ) -> Self {
        Entry::composite(name, origin, doc, move |options, context, _| build(options, context))
    }

    /// An entry whose component is made of others of the same catalog, which stand in options of
    /// type [`Inner`], `Option<Inner>` or `Vec<Inner>`.
    pub fn composite<O: Options + 'static>(
        name: &str,
        origin: &str,
        doc: &str,
        build: impl Fn(O, &C, &Catalog<T, C>) -> Result<Box<T>> + Send + Sync + 'static,
    ) -> Self {
        Entry {
            name: name.into(),
            origin: origin.into(),
            doc: doc.into(),
            options: O::describe(),
            build: Box::new(move |spec, context, all| build(O::from_spec(spec)?, context, all)),
            resolve: Box::new(|spec| Ok(O::from_spec(spec)?.to_map())),
        }
    }
}

/// All components of one kind, by name.
pub struct Catalog<T: ?Sized, C = ()> {
    kind: &'static str,
    entries: BTreeMap<String, Entry<T, C>>,
}

impl<T: ?Sized, C> Catalog<T, C> {
    /// An empty catalog; `kind` is the config section, as in `quantizer`.
    pub fn new(kind: &'static str) -> Self {
        Catalog { kind, entries: BTreeMap::new() }
    }

    /// Registers a component; a name can be taken once.
    pub fn add(&mut self, entry: Entry<T, C>) -> Result<()> {
        if let Some(first) = self.entries.get(&entry.name) {
            return Err(Error::DuplicateName {
                kind: self.kind.into(),
                name: entry.name,
                first: first.origin.clone(),
                second: entry.origin,
            });
        }
        self.entries.insert(entry.name.clone(), entry);
        Ok(())
    }

    /// The kind of component, as in `quantizer`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// All entries by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<T, C>> {
        self.entries.values()
    }

    /// The entry of a name.
    pub fn get(&self, name: &str) -> Result<&Entry<T, C>> {
        self.entries.get(name).ok_or_else(|| Error::UnknownName {
            kind: self.kind.into(),
            name: name.into(),
            known: self.entries.keys().cloned().collect(),
            nearest: nearest(name, self.entries.keys().map(String::as_str)),
        })
    }

    /// Builds a component.
    pub fn build(&self, spec: &Spec, context: &C) -> Result<Box<T>> {
        (self.get(&spec.name)?.build)(spec, context, self)
    }

    /// All options with defaults filled in, those of inner components too: what the resolved
    /// config and cache keys hold.
    pub fn resolve(&self, spec: &Spec) -> Result<Map<String, Value>> {
        let entry = self.get(&spec.name)?;
        let mut options = (entry.resolve)(spec)?;
        for doc in &entry.options {
            if !INNER.contains(&doc.ty.replace(' ', "").as_str()) {
                continue;
            }
            let section = format!("{}.{}", spec.section, doc.name);
            match options.get_mut(doc.name) {
                Some(Value::Array(parts)) => {
                    for part in parts {
                        *part = self.resolve_inner(part, &section)?;
                    }
                }
                Some(Value::Null) | None => {}
                Some(part) => *part = self.resolve_inner(part, &section)?,
            }
        }
        Ok(options)
    }

    fn resolve_inner(&self, written: &Value, section: &str) -> Result<Value> {
        let inner: Inner = serde_json::from_value(written.clone()).map_err(|_| {
            let message = format!("expected a name or a table with a `type`, got {written}");
            Error::config(section, message)
        })?;
        let spec = inner.spec(section)?;
        let mut options = self.resolve(&spec)?;
        options.insert("type".into(), spec.name.into());
        Ok(options.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    crate::options! {
        /// Toy.
        struct Toy {
            /// Width, 1 and up.
            width: u32 = 4,
            /// Names.
            names: Vec<String> = vec![],
        }
    }

    fn catalog() -> Catalog<dyn Fn() -> u32 + Send> {
        let mut c: Catalog<dyn Fn() -> u32 + Send> = Catalog::new("toy");
        c.add(Entry::new("plain-toy", "here", "A toy.", |o: Toy, _: &()| {
            Ok(Box::new(move || o.width) as Box<dyn Fn() -> u32 + Send>)
        }))
        .unwrap();
        c
    }

    #[test]
    fn builds_by_name_with_defaults_and_overrides() {
        let c = catalog();
        assert_eq!(c.build(&Spec::new("toy", "plain-toy"), &()).unwrap()(), 4);
        let spec = Spec::new("toy", "plain-toy").with("width", 9);
        assert_eq!(c.build(&spec, &()).unwrap()(), 9);
        assert_eq!(c.resolve(&spec).unwrap()["names"], Value::Array(vec![]));
        assert_eq!(c.get("plain-toy").unwrap().options[0].doc, "Width, 1 and up.");
    }

    #[test]
    fn errors_name_the_key_the_value_and_the_nearest() {
        let c = catalog();
        let msg = |spec: &Spec| c.build(spec, &()).err().unwrap().to_string();
        assert!(msg(&Spec::new("toy", "plain-toi")).contains("did you mean `plain-toy`"));
        assert!(msg(&Spec::new("toy", "zzzzzzzz")).contains("known: plain-toy"));
        let wrong = msg(&Spec::new("toy", "plain-toy").with("width", "wide"));
        assert!(
            wrong.contains("toy.width") && wrong.contains("u32") && wrong.contains("wide"),
            "{wrong}"
        );
        assert!(
            msg(&Spec::new("toy", "plain-toy").with("nmes", 1)).contains("did you mean `names`")
        );
    }

    crate::options! {
        /// A toy of toys.
        struct Box2 {
            /// Parts.
            parts: Vec<Inner> = vec![Inner::Name("plain-toy".into())],
        }
    }

    #[test]
    fn components_inside_components() {
        let mut c = catalog();
        let sum = Entry::composite("sum", "here", "Toys.", |o: Box2, _: &(), all| {
            let built: Vec<_> = o
                .parts
                .iter()
                .map(|p| all.build(&p.spec("toy.parts")?, &()))
                .collect::<Result<_>>()?;
            Ok(Box::new(move || built.iter().map(|toy| toy()).sum()) as Box<dyn Fn() -> u32 + Send>)
        });
        c.add(sum).unwrap();
        let deep =
            json!([{"type": "plain-toy", "width": 5}, {"type": "sum", "parts": ["plain-toy"]}]);
        let spec = Spec::new("toy", "sum").with("parts", deep);
        assert_eq!(c.build(&spec, &()).unwrap()(), 9);
        let resolved = c.resolve(&spec).unwrap();
        assert_eq!(resolved["parts"][1]["parts"][0]["width"], 4);
        let wrong = |parts| {
            let spec = Spec::new("toy", "sum").with("parts", parts);
            c.resolve(&spec).unwrap_err().to_string()
        };
        let message = wrong(json!([{"type": "plain-toy", "widht": 5}]));
        assert!(message.contains("toy.parts.widht"), "{message}");
        assert!(wrong(json!([{"width": 5}])).contains("toy.parts.type"));
        assert!(wrong(json!(["plain-toi"])).contains("did you mean `plain-toy`"));
    }

    #[test]
    fn duplicates_tell_who_came_first() {
        let mut c = catalog();
        let again = Entry::new("plain-toy", "there", "", |_: Toy, _: &()| {
            Ok(Box::new(|| 0u32) as Box<dyn Fn() -> u32 + Send>)
        });
        let err = c.add(again).unwrap_err().to_string();
        assert!(err.contains("first by here, again by there"), "{err}");
    }

    #[test]
    fn short_specs() {
        assert_eq!(Spec::from_short("m", "recall@10").unwrap().options["k"], 10);
        assert!(Spec::from_short("m", "recall@0").is_err());
        assert!(Spec::from_short("m", "recall@x").is_err());
    }
}
