//! One error type for the whole workspace.
//!
//! Components of every crate meet behind the same traits, so they share one error enum that keeps
//! the place (file, line, key) and the kind of fault; the binary turns the kind into an exit code.

use std::path::{Path, PathBuf};

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of fault, for exit codes and for callers that react differently to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// A key, value or component name in a configuration.
    Config,
    /// An input file or its content.
    Data,
    /// Anything else: output that cannot be written, numbers that blew up, a bug.
    Other,
    /// The user asked to stop.
    Cancelled,
}

/// What went wrong, where, and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration key has a value outside its range, or may not stand there.
    #[error("config key `{key}`: {message}")]
    Config {
        /// Dotted key, as in `quantizer.levels`.
        key: String,
        /// The value, why it is refused, and what is allowed.
        message: String,
    },
    /// A fault in the text of a configuration, with its place.
    #[error("{place}: {message}")]
    ConfigAt {
        /// File and line, or the command-line argument.
        place: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A component name that nobody registered.
    #[error("unknown {kind} `{name}`{}; known: {}", suggestion(.nearest), .known.join(", "))]
    UnknownName {
        /// Which catalog, as in `quantizer`.
        kind: String,
        /// The name asked for.
        name: String,
        /// All registered names.
        known: Vec<String>,
        /// The closest registered name, when one is close.
        nearest: Option<String>,
    },
    /// An option that the component does not have.
    #[error("config key `{key}`: unknown option{}; known: {}", suggestion(.nearest), .known.join(", "))]
    UnknownOption {
        /// Dotted key as written.
        key: String,
        /// All options of the component.
        known: Vec<String>,
        /// The closest option, when one is close.
        nearest: Option<String>,
    },
    /// Two crates registered the same name.
    #[error("{kind} `{name}` is registered twice: first by {first}, again by {second}")]
    DuplicateName {
        /// Which catalog.
        kind: String,
        /// The name.
        name: String,
        /// Crate that came first.
        first: String,
        /// Crate that came second.
        second: String,
    },
    /// Content of an input is wrong.
    #[error("{}: {message}", place(.path, .line))]
    Data {
        /// The file, if the input is one.
        path: Option<PathBuf>,
        /// One-based line.
        line: Option<u64>,
        /// What is wrong and what was expected.
        message: String,
    },
    /// An input file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An output file cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A number became NaN or infinite.
    #[error("{what} is not finite{}: {help}", .step.map(|s| format!(" at step {s}")).unwrap_or_default())]
    NotFinite {
        /// Name of the tensor.
        what: String,
        /// Optimiser step, in training.
        step: Option<u64>,
        /// What to try.
        help: String,
    },
    /// The user asked to stop; the text says how to go on.
    #[error("stopped: {0}")]
    Cancelled(String),
    /// Shapes, versions or states that do not fit together.
    #[error("{0}")]
    Mismatch(String),
    /// An error of another library.
    #[error("{context}: {source}")]
    Other {
        /// What was being done.
        context: String,
        /// The library's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default()
}

fn place(path: &Option<PathBuf>, line: &Option<u64>) -> String {
    match (path, line) {
        (Some(p), Some(l)) => format!("{}:{l}", p.display()),
        (Some(p), None) => p.display().to_string(),
        (None, Some(l)) => format!("line {l}"),
        (None, None) => "data".to_string(),
    }
}

impl Error {
    /// A refused configuration value.
    pub fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Config { key: key.into(), message: message.into() }
    }

    /// Wrong content of `path`.
    pub fn data(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Error::Data { path: Some(path.as_ref().into()), line: None, message: message.into() }
    }

    /// Wrong content of `path` at the one-based `line`.
    pub fn data_line(path: impl AsRef<Path>, line: u64, message: impl Into<String>) -> Self {
        Error::Data { path: Some(path.as_ref().into()), line: Some(line), message: message.into() }
    }

    /// Wrong input that is no file.
    pub fn input(message: impl Into<String>) -> Self {
        Error::Data { path: None, line: None, message: message.into() }
    }

    /// An input that cannot be read.
    pub fn read(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Read { path: path.as_ref().into(), source }
    }

    /// An output that cannot be written.
    pub fn write(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Write { path: path.as_ref().into(), source }
    }

    /// Shapes, versions or states that do not fit together.
    pub fn mismatch(message: impl Into<String>) -> Self {
        Error::Mismatch(message.into())
    }

    /// An error of another library, with what was being done.
    pub fn other(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error::Other { context: context.into(), source: source.into() }
    }

    /// The kind of fault.
    pub fn category(&self) -> Category {
        match self {
            Error::Config { .. }
            | Error::ConfigAt { .. }
            | Error::UnknownName { .. }
            | Error::UnknownOption { .. }
            | Error::DuplicateName { .. } => Category::Config,
            Error::Data { .. } | Error::Read { .. } => Category::Data,
            Error::Cancelled(_) => Category::Cancelled,
            _ => Category::Other,
        }
    }
}
