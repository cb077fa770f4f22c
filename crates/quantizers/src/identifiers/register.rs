//! The identifiers by name.

use super::{
    Ordinal, OrdinalOptions, Popularity, PopularityOptions, SecondBest, SecondBestOptions, Table,
    TableOptions, Tolerate, TolerateOptions,
};
use sidereal_core::{Catalog, Entry, Identifier, Options, Result};

/// Adds all identifiers of this crate.
pub fn register(all: &mut Catalog<dyn Identifier>) -> Result<()> {
    add(
        all,
        "ordinal",
        "Appends one digit that counts the items of a shared code tuple \
         (arXiv 2305.05065, 2507.22224).",
        |options: OrdinalOptions| Ok(Ordinal::new(options)),
    )?;
    add(
        all,
        "tolerate",
        "Keeps the codes as they are: several items may share an ID (arXiv 2507.22224, table 7).",
        |_: TolerateOptions| Ok(Tolerate),
    )?;
    add(
        all,
        "popularity",
        "Appends one digit that ranks the items of a shared code tuple by popularity \
         (arXiv 2404.16555).",
        |_: PopularityOptions| Ok(Popularity),
    )?;
    add(
        all,
        "second-best",
        "Moves the items of a shared code tuple to the nearest codes that are free.",
        |options: SecondBestOptions| Ok(SecondBest::new(options)),
    )?;
    all.add(Entry::composite(
        "table",
        env!("CARGO_PKG_NAME"),
        "IDs from a file: index JSON (arXiv 2311.09049), TSV, CSV or this project's own.",
        |options: TableOptions, _: &(), all| {
            let inner = options.then.as_ref().map(|then| then.spec("identifier.then"));
            let then = inner.transpose()?.map(|spec| all.build(&spec, &())).transpose()?;
            Ok(Box::new(Table::new(options, then)?) as Box<dyn Identifier>)
        },
    ))
}

fn add<O: Options + 'static, I: Identifier + 'static>(
    all: &mut Catalog<dyn Identifier>,
    name: &str,
    doc: &str,
    new: impl Fn(O) -> Result<I> + Send + Sync + 'static,
) -> Result<()> {
    let build = move |options: O, _: &()| Ok(Box::new(new(options)?) as Box<dyn Identifier>);
    all.add(Entry::new(name, env!("CARGO_PKG_NAME"), doc, build))
}
