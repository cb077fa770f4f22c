//! The identifiers by name.

use super::{
    Atomic, AtomicOptions, CodeSet, CodeSetOptions, Collaborative, FixedLength, FixedLengthOptions,
    Hybrid, HybridOptions, Ordinal, OrdinalOptions, Popularity, PopularityOptions, RandomId,
    SecondBest, SecondBestOptions, Sequential, Sinkhorn, Table, TableOptions, Taxonomy,
    TaxonomyOptions, Text, Tolerate, TolerateOptions,
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
    add(
        all,
        "sinkhorn",
        "Encodes the items of a shared code tuple again, balanced, on the last level \
         (arXiv 2311.09049, 2510.24431).",
        Sinkhorn::new,
    )?;
    add(
        all,
        "atomic",
        "One code an item, shared with nobody (IID of arXiv 2305.06569; DSI, arXiv 2202.06991).",
        |_: AtomicOptions| Ok(Atomic),
    )?;
    add(
        all,
        "random-id",
        "Distinct random numbers, written in digits (RID of arXiv 2305.06569).",
        RandomId::new,
    )?;
    add(
        all,
        "sequential",
        "Numbers in the order in which users meet the items (SID of arXiv 2305.06569).",
        Sequential::new,
    )?;
    add(
        all,
        "collaborative",
        "The path in a tree of items that users have together, by spectral clustering \
         (CID of arXiv 2305.06569, 2306.11134).",
        Collaborative::new,
    )?;
    add(
        all,
        "taxonomy",
        "The path of categories and a number (SemID of arXiv 2305.06569).",
        |options: TaxonomyOptions| Ok(Taxonomy::new(options)),
    )?;
    add(
        all,
        "text",
        "The words of titles, keywords or addresses \
         (TID of arXiv 2305.06569; 2208.07652, 2504.05181, 2510.10419).",
        Text::new,
    )?;
    add(
        all,
        "code-set",
        "The codes as an unordered set (arXiv 2508.15308, 2506.05781).",
        |options: CodeSetOptions| Ok(CodeSet::new(options)),
    )?;
    all.add(Entry::composite(
        "hybrid",
        env!("CARGO_PKG_NAME"),
        "IDs of several identifiers, one behind the other (HID of arXiv 2305.06569).",
        |options: HybridOptions, _: &(), all| {
            Ok(Box::new(Hybrid::new(options, all)?) as Box<dyn Identifier>)
        },
    ))?;
    all.add(Entry::composite(
        "fixed-length",
        env!("CARGO_PKG_NAME"),
        "IDs of another identifier, filled up with end codes to the length of the longest.",
        |options: FixedLengthOptions, _: &(), all| {
            let of = all.build(&options.of.spec("identifier.of")?, &())?;
            Ok(Box::new(FixedLength::new(of)) as Box<dyn Identifier>)
        },
    ))?;
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
