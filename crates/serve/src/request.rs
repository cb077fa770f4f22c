//! The body of `POST /v1/recommend`: bytes to a request whose every part is within its limit.
//!
//! The parser reads fields one by one instead of deriving them, so that every refusal names the
//! field, the value and what is allowed. It knows no catalogue: ids are looked up later.

use crate::fault::Fault;
use crate::options::ServeOptions;
use serde::Serialize;
use serde_json::{Map, Value};
use sidereal_core::component::nearest;

/// Fields that a request may have.
pub const FIELDS: [&str; 6] = ["user", "history", "k", "exclude", "filter", "explain"];
/// Items of an answer where the request does not say.
const DEFAULT_K: usize = 10;

/// Largest sizes of the parts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body.
    pub body: usize,
    /// Items of the history.
    pub history: usize,
    /// Items that are excluded.
    pub exclude: usize,
    /// Items of the answer.
    pub k: usize,
    /// Bytes of an id or another text.
    pub text: usize,
}

impl Limits {
    /// The limits of the options, for a model that gives at most `width` items.
    pub fn new(options: &ServeOptions, width: Option<usize>) -> Self {
        Limits {
            body: options.max_body as usize,
            history: options.max_history as usize,
            exclude: options.max_exclude as usize,
            k: (options.max_k as usize).min(width.unwrap_or(usize::MAX)).max(1),
            text: options.max_text as usize,
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A user of the data, by source id.
    User(String),
    /// Items by source id, oldest first; at least one.
    History(Vec<String>),
}

/// Whether an answer says how the items came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Explain {
    /// Items and scores only.
    #[default]
    No,
    /// The path of every item through the levels of its ID.
    Path,
}

/// A request as written, within the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// User or history.
    pub who: Who,
    /// Number of items, 1 to [`Limits::k`].
    pub k: usize,
    /// Items that must not come back, by source id.
    pub exclude: Vec<String>,
    /// What the attributes of the items must be, as written.
    pub filter: Option<String>,
    /// What the answer says beside the items.
    pub explain: Explain,
}

/// A request as clients write it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AskBody {
    /// Source id of a user; this or `history`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Source ids of items, oldest first; this or `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<String>>,
    /// Number of items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<u32>,
    /// Source ids of items that must not come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<String>>,
    /// A condition on the attributes of the items, as in `brand = "Ada" and price < 20`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Whether the answer holds the path of every item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<bool>,
}

/// Reads a body.
///
/// Errors: 413 above [`Limits::body`], 400 for what is no JSON object, 422 for fields that are
/// unknown, missing, of another type or outside their limit.
pub fn parse(body: &[u8], limits: &Limits) -> Result<Ask, Fault> {
    let object = object(body, limits, &FIELDS)?;
    let user = object.get("user").map(|v| text(v, "user", limits)).transpose()?;
    let history = object
        .get("history")
        .map(|v| texts(v, "history", 1, limits.history, limits))
        .transpose()?;
    let who = match (user, history) {
        (Some(user), None) => Who::User(user),
        (None, Some(history)) => Who::History(history),
        (Some(_), Some(_)) => {
            return Err(Fault::field("history", "conflict", "it beside `user`", "one of the two"));
        }
        (None, None) => {
            let mut fault = Fault::new(422, "missing", "`user` or `history` must be there");
            fault.detail.field = Some("history".into());
            return Err(fault);
        }
    };
    let k = match object.get("k") {
        None => DEFAULT_K.min(limits.k),
        Some(v) => number(v, "k", limits.k)?,
    };
    let exclude = match object.get("exclude") {
        None => Vec::new(),
        Some(v) => texts(v, "exclude", 0, limits.exclude, limits)?,
    };
    let filter = object.get("filter").map(|v| text(v, "filter", limits)).transpose()?;
    let explain = match object.get("explain") {
        None | Some(Value::Bool(false)) => Explain::No,
        Some(Value::Bool(true)) => Explain::Path,
        Some(v) => return Err(Fault::field("explain", "wrong_type", kind(v), "true or false")),
    };
    Ok(Ask { who, k, exclude, filter, explain })
}

/// The JSON object of a body, with no field but the `known` ones.
pub fn object(body: &[u8], limits: &Limits, known: &[&str]) -> Result<Map<String, Value>, Fault> {
    if body.len() > limits.body {
        return Err(too_large(limits));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|e| Fault::new(400, "no_json", format!("the body is no JSON: {e}")))?;
    let Value::Object(object) = value else {
        let message = format!("the body is {}, expected a JSON object", kind(&value));
        return Err(Fault::new(400, "no_object", message));
    };
    if let Some(key) = object.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(unknown_field(key, limits, known));
    }
    Ok(object)
}

/// A field that there is none of, with the nearest one that there is.
pub fn unknown_field(key: &str, limits: &Limits, known: &[&str]) -> Fault {
    let short: String = key.chars().take(limits.text.min(40)).collect();
    let hint = nearest(&short, known.iter().copied());
    let hint = hint.map_or(String::new(), |n| format!(" (did you mean `{n}`?)"));
    let allowed = known.join(", ");
    let message = format!("unknown field `{short}`{hint}; known: {allowed}");
    let mut fault = Fault::new(422, "unknown_field", message);
    fault.detail.field = Some(short);
    fault.detail.allowed = Some(allowed);
    fault
}

/// A body above its limit.
pub fn too_large(limits: &Limits) -> Fault {
    let mut fault =
        Fault::new(413, "too_large", format!("the body has more than {} bytes", limits.body));
    fault.detail.allowed = Some(format!("at most {} bytes", limits.body));
    fault
}

/// A string of 1 to [`Limits::text`] bytes.
pub fn text(value: &Value, field: &str, limits: &Limits) -> Result<String, Fault> {
    let allowed = || format!("a string of 1 to {} bytes", limits.text);
    match value {
        Value::String(s) if s.is_empty() || s.len() > limits.text => {
            let got = format!("{} bytes", s.len());
            Err(Fault::field(field, "out_of_range", got, &allowed()))
        }
        Value::String(s) => Ok(s.clone()),
        other => Err(Fault::field(field, "wrong_type", kind(other), &allowed())),
    }
}

fn texts(
    value: &Value,
    field: &str,
    least: usize,
    most: usize,
    limits: &Limits,
) -> Result<Vec<String>, Fault> {
    let allowed = || format!("a list of {least} to {most} ids");
    match value {
        Value::Array(list) if !(least..=most).contains(&list.len()) => {
            let got = format!("{} ids", list.len());
            Err(Fault::field(field, "out_of_range", got, &allowed()))
        }
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(i, v)| text(v, &format!("{field}[{i}]"), limits))
            .collect(),
        other => Err(Fault::field(field, "wrong_type", kind(other), &allowed())),
    }
}

/// A whole number from 1 to `most`.
pub fn number(value: &Value, field: &str, most: usize) -> Result<usize, Fault> {
    let allowed = format!("a whole number from 1 to {most}");
    match value {
        Value::Number(n) => match n.as_u64() {
            Some(n) if n >= 1 && n <= most as u64 => Ok(n as usize),
            _ => Err(Fault::field(field, "out_of_range", n, &allowed)),
        },
        other => Err(Fault::field(field, "wrong_type", kind(other), &allowed)),
    }
}

/// What a value is, without its content: an error must not repeat a megabyte.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
