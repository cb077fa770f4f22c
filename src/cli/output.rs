//! Standard output and standard error, without panics: a reader may close either at any time.

use serde::Serialize;
use sidereal_core::{Error, Result};
use std::io::{self, Write};

/// Writes text to standard output. A closed pipe is no error: nobody wants to read on.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::write("standard output", e)),
        _ => Ok(()),
    }
}

/// Writes a value as pretty JSON.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::other("writing JSON", e))?;
    print(&format!("{text}\n"))
}

/// `error: ...`, and causes that the message does not show already.
pub fn write_error(error: &Error) -> io::Result<()> {
    let mut shown = error.to_string();
    let mut out = io::stderr().lock();
    writeln!(out, "error: {shown}")?;
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        let text = e.to_string();
        if !shown.contains(&text) {
            writeln!(out, "caused by: {text}")?;
        }
        shown = text;
        cause = e.source();
    }
    Ok(())
}
