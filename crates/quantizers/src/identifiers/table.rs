//! `table`: IDs from a file, such as those that an author publishes beside a paper.
//!
//! Reads any format of [`crate::tables`]. Neither encoder nor quantizer runs. What happens to items
//! that share an ID is the work of another identifier, `then`, as for codes of a quantizer.

use crate::tables::{Keys, import};
use sidereal_core::{
    Code, Codebook, Codes, Error, Identifier, IdentifierInput, Inner, Matrix, MatrixRef, Quantized,
    QuantizerInput, Result, Run, SidTable,
};
use std::path::PathBuf;

sidereal_core::options! {
    /// Options of `table`.
    pub struct TableOptions {
        /// The file: .safetensors, .json, .tsv or .csv, the last three also with .gz behind.
        pub path: String = String::new(),
        /// What its keys are: `number` (of the item, from 0), `source-id`, or `auto`: numbers, if
        /// all of them are whole numbers below the number of items.
        pub keys: Keys = Keys::Auto,
        /// Codes of each ID that are kept, from the first; 0 keeps all. Fewer leave out a last
        /// digit that only tells items apart.
        pub levels: usize = 0,
        /// What happens to shared IDs; unset, they stay shared and IDs of any length are taken.
        pub then: Option<Inner> = None,
    }
}

/// Reads the table.
pub struct Table {
    options: TableOptions,
    then: Option<Box<dyn Identifier>>,
}

impl Table {
    /// With the identifier that treats shared IDs.
    ///
    /// Errors: no path.
    pub fn new(options: TableOptions, then: Option<Box<dyn Identifier>>) -> Result<Self> {
        if options.path.is_empty() {
            return Err(Error::config("identifier.path", "missing: name the file of the table"));
        }
        Ok(Table { options, then })
    }
}

impl Identifier for Table {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        let items = input.catalogue.items;
        let path = PathBuf::from(&self.options.path);
        let table = import(&path, items, self.options.keys, self.options.levels)?;
        let Some(then) = &self.then else { return Ok(table) };
        let (codes, codebook) = Published::of(&table)?;
        let vectors = MatrixRef::new(items.len(), 0, &[])?;
        let quantized = Some(Quantized { codes: &codes, codebook: &codebook, vectors });
        then.identify(&IdentifierInput { quantized, ..*input }, run)
    }

    fn reads_codes(&self) -> bool {
        false
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![PathBuf::from(&self.options.path)]
    }
}

/// Codes whose vectors nobody published.
struct Published {
    widths: Vec<u32>,
}

impl Published {
    fn of(table: &SidTable) -> Result<(Codes, Self)> {
        let levels = table.max_len();
        let mut codes: Vec<Code> = vec![Codes::NONE; table.n_items() * levels];
        for r in 0..table.n_rows() {
            let at = table.item(r).index() * levels;
            codes[at..at + table.sid(r).len()].copy_from_slice(table.sid(r));
        }
        if let Some(item) = codes.chunks(levels.max(1)).position(|c| c[0] == Codes::NONE) {
            return Err(Error::input(format!("the table has no ID for item {item}")));
        }
        let codes = Codes::new(table.n_items(), levels, codes)?;
        Ok((codes, Published { widths: table.widths().to_vec() }))
    }
}

impl Codebook for Published {
    fn widths(&self) -> &[u32] {
        &self.widths
    }

    fn quantize(&self, _input: &QuantizerInput<'_>) -> Result<Codes> {
        Err(Error::mismatch("a published table has codes, but no codebook to quantize with"))
    }

    fn reconstruct(&self, _codes: &Codes, _levels: usize) -> Option<Matrix> {
        None
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        Vec::new()
    }
}
