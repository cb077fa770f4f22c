//! Bytes to fields: lines of plain and gzip files, JSON keys, Python literals, delimited fields,
//! numbers, interned ids.

pub(crate) mod fields;
pub(crate) mod intern;
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod number;
pub(crate) mod python;
