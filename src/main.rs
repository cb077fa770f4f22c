//! The `sidereal` command: every built-in component, no plugin.

use std::process::ExitCode;

fn main() -> ExitCode {
    match sidereal::Registry::builtin() {
        Ok(registry) => sidereal::cli::run(registry),
        Err(error) => sidereal::cli::fail(&error),
    }
}
