//! What an answer says when there is no other: a status, a code for programs, and which field has
//! which value where what would be allowed.

use serde::{Deserialize, Serialize};

/// A refused or failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// Seconds after which to ask again, for 503.
    pub retry_after: Option<u32>,
    /// What the body says.
    pub detail: FaultDetail,
}

/// The body of an answer with an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultBody {
    /// What is wrong.
    pub error: FaultDetail,
}

/// What is wrong, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultDetail {
    /// The kind of fault, as in `out_of_range`; it does not change with the wording.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The field, as in `history[3]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What the field may hold, as in `1 to 100`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

impl Fault {
    /// A fault of the whole request.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let detail =
            FaultDetail { code: code.into(), message: message.into(), field: None, allowed: None };
        Fault { status, retry_after: None, detail }
    }

    /// A field that has a value which it may not have.
    pub fn field(field: &str, code: &str, got: impl std::fmt::Display, allowed: &str) -> Self {
        let mut fault = Fault::new(422, code, format!("`{field}`: got {got}, expected {allowed}"));
        fault.detail.field = Some(field.into());
        fault.detail.allowed = Some(allowed.into());
        fault
    }

    /// The service has more to do than it can; the client may come back.
    pub fn busy(code: &str, message: &str) -> Self {
        Fault { retry_after: Some(1), ..Fault::new(503, code, message) }
    }

    /// The time of the request is over.
    pub fn timed_out() -> Self {
        Fault::new(504, "timed_out", "the request was not answered in time")
    }

    /// The body as bytes of JSON.
    pub fn body(&self) -> Vec<u8> {
        // Strings always serialize.
        serde_json::to_vec(&FaultBody { error: self.detail.clone() }).unwrap_or_default()
    }
}
