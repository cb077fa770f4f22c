//! `sidereal data inspect PATH`.

use super::args::InspectArguments;
use super::output;
use sidereal_core::Result;
use std::process::ExitCode;

pub fn inspect(a: InspectArguments) -> Result<ExitCode> {
    let inspection = sidereal_data::inspect(&a.path)?;
    match a.json {
        true => output::print_json(&inspection)?,
        false => output::print(&format!("{inspection}\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}
