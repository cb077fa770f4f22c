//! Codebooks and SID tables as safetensors files.
//!
//! The tensors are plain (f32 matrices; int32 `codes`, `items`, `offsets`), so that any program
//! reads them. `__metadata__` has one entry, `sidereal`: JSON with the format's name and version
//! and what the tensors cannot say. One entry, because the order of several is not fixed and equal
//! content shall give equal bytes. Files appear whole or not at all.

use crate::autoencoder::Bottleneck;
use crate::capacity::CapacityCodebook;
use crate::compositions::{self, GroupedCodebook, StackedCodebook};
use crate::fsq::{FsqCodebook, Rounding};
use crate::graph_rq_vae::{self, GraphRqVaeCodebook};
use crate::hierarchical_kmeans::{self, HierarchicalCodebook};
use crate::lfq::{LfqCodebook, Signs};
use crate::mpq::{Experts, MpqCodebook};
use crate::opq::{self, OpqCodebook};
use crate::pq::{self, PqCodebook};
use crate::random::{self, RandomCodebook};
use crate::residual::ResidualCodebook;
use crate::residual_fsq::{ResidualFsqCodebook, ResidualRounding};
use crate::rq_vae::{self, RqVaeCodebook};
use crate::training;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sidereal_core::{CodeOrder, Codebook, Error, ItemId, Matrix, Result, SidTable, files};
use std::collections::HashMap;
use std::path::Path;

const METADATA: &str = "sidereal";
const VERSION: u32 = 1;
const CODEBOOK: &str = "codebook";
const SIDS: &str = "sid-table";

#[derive(Serialize, Deserialize)]
struct Header<T> {
    format: String,
    version: u32,
    #[serde(flatten)]
    more: T,
}

#[derive(Serialize, Deserialize)]
struct CodebookHeader {
    widths: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct SidsHeader {
    n_items: usize,
    order: String,
    /// [`SidTable::version`] in hexadecimal: a damaged table does not pass for a good one.
    content: String,
}

/// Writes the tensors of a codebook.
pub fn save_codebook(path: &Path, codebook: &dyn Codebook) -> Result<()> {
    let header = CodebookHeader { widths: codebook.widths().to_vec() };
    save_tensors(path, CODEBOOK, header, &codebook.tensors())
}

/// Writes matrices with a header.
pub(crate) fn save_tensors<T: Serialize>(
    path: &Path,
    format: &str,
    header: T,
    tensors: &[(String, Matrix)],
) -> Result<()> {
    let named = tensors.iter().map(|(name, m)| {
        let bytes = m.data().iter().flat_map(|v| v.to_le_bytes()).collect();
        (name.as_str(), Dtype::F32, vec![m.rows(), m.cols()], bytes)
    });
    write(path, format, header, named.collect())
}

/// Reads a codebook of this crate.
///
/// Errors: no such file, another format or version, tensors of no known codebook.
pub fn load_codebook(path: &Path) -> Result<Box<dyn Codebook>> {
    let tensors = load_codebook_tensors(path)?;
    codebook_from_tensors(tensors).map_err(|e| Error::data(path, e.to_string()))
}

/// A codebook of this crate from what its [`Codebook::tensors`] gives, told by the names.
///
/// Errors: tensors of no known codebook, or shapes that do not fit.
pub fn codebook_from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Box<dyn Codebook>> {
    let has = |prefix: &str| tensors.iter().any(|(name, _)| name.starts_with(prefix));
    let is = |mark: &str| tensors.iter().any(|(name, _)| name == mark);
    if has(random::SEED) {
        return Ok(Box::new(RandomCodebook::from_tensors(tensors)?));
    }
    if has(compositions::RESIDUAL) {
        return Ok(Box::new(StackedCodebook::from_tensors(tensors)?));
    }
    if has(compositions::GROUPED) {
        return Ok(Box::new(GroupedCodebook::from_tensors(tensors)?));
    }
    if is(Rounding::MARK) {
        return Ok(Box::new(FsqCodebook::from_tensors(tensors)?));
    }
    if is(ResidualRounding::MARK) {
        return Ok(Box::new(ResidualFsqCodebook::from_tensors(tensors)?));
    }
    if is(Signs::MARK) {
        return Ok(Box::new(LfqCodebook::from_tensors(tensors)?));
    }
    if is(Experts::MARK) {
        return Ok(Box::new(MpqCodebook::from_tensors(tensors)?));
    }
    if has(graph_rq_vae::FIRST) {
        return Ok(Box::new(GraphRqVaeCodebook::from_tensors(tensors)?));
    }
    if has(rq_vae::FIRST) {
        return Ok(Box::new(RqVaeCodebook::from_tensors(tensors)?));
    }
    if has(opq::ROTATION) {
        return Ok(Box::new(OpqCodebook::from_tensors(tensors)?));
    }
    if has(hierarchical_kmeans::TREE) {
        return Ok(Box::new(HierarchicalCodebook::from_tensors(tensors)?));
    }
    if has(training::TRAINING) {
        return Ok(Box::new(CapacityCodebook::from_tensors(tensors)?));
    }
    if has(pq::PART) {
        return Ok(Box::new(PqCodebook::from_tensors(tensors)?));
    }
    Ok(Box::new(ResidualCodebook::from_tensors(tensors)?))
}

/// Reads the tensors of a codebook file, sorted by name, for codebooks of other crates.
pub fn load_codebook_tensors(path: &Path) -> Result<Vec<(String, Matrix)>> {
    Ok(load_tensors::<CodebookHeader>(path, CODEBOOK)?.1)
}

/// Reads what [`save_tensors`] writes: the header, and the matrices sorted by name.
pub(crate) fn load_tensors<T: DeserializeOwned>(
    path: &Path,
    format: &str,
) -> Result<(T, Vec<(String, Matrix)>)> {
    let bytes = read(path)?;
    let (file, header) = open::<T>(path, &bytes, format)?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        let &[rows, cols] = view.shape() else {
            return Err(Error::data(path, format!("tensor `{name}` is no matrix")));
        };
        if view.dtype() != Dtype::F32 {
            return Err(Error::data(path, format!("tensor `{name}` is not F32")));
        }
        let values = words(view.data()).map(f32::from_le_bytes).collect();
        tensors.push((name.to_string(), Matrix::new(rows, cols, values)?));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok((header, tensors))
}

/// Writes a SID table: `codes` of all rows, `items` (one a row), `offsets` (rows + 1).
pub fn save_sids(path: &Path, table: &SidTable) -> Result<()> {
    let rows = 0..table.n_rows();
    let mut offsets = vec![0u32];
    let mut codes: Vec<u32> = Vec::new();
    for r in rows.clone() {
        codes.extend_from_slice(table.sid(r));
        offsets.push(codes.len() as u32);
    }
    let items = rows.map(|r| table.item(r).0).collect();
    let mut named = Vec::new();
    for (name, column) in [("codes", codes), ("items", items), ("offsets", offsets)] {
        if let Some(large) = column.iter().find(|v| i32::try_from(**v).is_err()) {
            return Err(Error::mismatch(format!(
                "SID table: {large} in `{name}` does not fit the file's int32"
            )));
        }
        let bytes = column.iter().flat_map(|v| v.to_le_bytes()).collect();
        named.push((name, Dtype::I32, vec![column.len()], bytes));
    }
    let order = if table.order() == CodeOrder::Set { "set" } else { "sequence" };
    let header = SidsHeader {
        n_items: table.n_items(),
        order: order.into(),
        content: format!("{:016x}", table.version()),
    };
    write(path, SIDS, header, named)
}

/// Reads what [`save_sids`] writes.
///
/// Errors: no such file, another format or version, columns that do not fit together.
pub fn load_sids(path: &Path) -> Result<SidTable> {
    let bytes = read(path)?;
    let (file, header) = open::<SidsHeader>(path, &bytes, SIDS)?;
    let wrong = |message: String| Error::data(path, message);
    let column = |name: &str| {
        let view = file.tensor(name).map_err(|e| wrong(format!("tensor `{name}`: {e}")))?;
        if view.dtype() != Dtype::I32 || view.shape().len() != 1 {
            return Err(wrong(format!("tensor `{name}` is no column of I32")));
        }
        words(view.data())
            .map(|w| u32::try_from(i32::from_le_bytes(w)).ok())
            .collect::<Option<Vec<u32>>>()
            .ok_or_else(|| wrong(format!("tensor `{name}` has a value below 0")))
    };
    let (codes, items, offsets) = (column("codes")?, column("items")?, column("offsets")?);
    let rising = offsets.windows(2).all(|w| w[0] <= w[1]);
    let ends = (offsets.first().copied(), offsets.last().map(|&o| o as usize));
    if offsets.len() != items.len() + 1 || !rising || ends != (Some(0), Some(codes.len())) {
        return Err(wrong("`offsets` does not fit `items` and `codes`".into()));
    }
    // The table allocates a word an item; a damaged header must not ask for more than the items
    // that the ids can name.
    if u32::try_from(header.n_items).is_err() {
        return Err(wrong(format!("{} items; expected at most {}", header.n_items, u32::MAX)));
    }
    let order = match header.order.as_str() {
        "sequence" => CodeOrder::Sequence,
        "set" => CodeOrder::Set,
        other => return Err(wrong(format!("code order `{other}`; known: sequence, set"))),
    };
    let rows = items.iter().zip(offsets.windows(2));
    let rows = rows.map(|(&i, w)| (ItemId(i), &codes[w[0] as usize..w[1] as usize]));
    let table = SidTable::new(header.n_items, order, rows).map_err(|e| wrong(e.to_string()))?;
    if format!("{:016x}", table.version()) != header.content {
        return Err(wrong("the content does not match its hash: the file is damaged".into()));
    }
    Ok(table)
}

type Named<'a> = (&'a str, Dtype, Vec<usize>, Vec<u8>);

fn write<T: Serialize>(path: &Path, format: &str, more: T, named: Vec<Named<'_>>) -> Result<()> {
    let header = Header { format: format.into(), version: VERSION, more };
    let header = serde_json::to_string(&header).map_err(|e| Error::other("the header", e))?;
    let fail = |e| Error::other(format!("laying out {}", path.display()), e);
    let views = named
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((*name, TensorView::new(*dtype, shape.clone(), bytes).map_err(fail)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([(METADATA.to_string(), header)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(fail)?;
    files::write_bytes(path, &bytes)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::read(path, e))
}

/// The tensors and the header, if it has the right format and version.
fn open<'a, T: DeserializeOwned>(
    path: &Path,
    bytes: &'a [u8],
    format: &str,
) -> Result<(SafeTensors<'a>, T)> {
    let wrong = |message: String| Error::data(path, message);
    let no_file = |e| wrong(format!("no safetensors file: {e}"));
    let file = SafeTensors::deserialize(bytes).map_err(no_file)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(no_file)?;
    let header = metadata.metadata().as_ref().and_then(|m| m.get(METADATA)).ok_or_else(|| {
        wrong(format!("no `{METADATA}` entry in its metadata; expected a {format} file"))
    })?;
    let kind: Header<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(header).map_err(|e| wrong(format!("metadata: {e}")))?;
    if kind.format != format || kind.version != VERSION {
        return Err(wrong(format!(
            "a `{}` file of version {}; expected `{format}` of version {VERSION}",
            kind.format, kind.version
        )));
    }
    let header: Header<T> =
        serde_json::from_str(header).map_err(|e| wrong(format!("metadata: {e}")))?;
    Ok((file, header.more))
}

/// Words of four bytes; safetensors has checked that the length fits the shape.
fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> + '_ {
    bytes.chunks_exact(4).map(|w| [w[0], w[1], w[2], w[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Random, RandomOptions, ResidualScale};
    use sidereal_core::{MatrixRef, Quantizer, QuantizerInput, Run};
    use std::fs;

    fn book(scale: ResidualScale) -> ResidualCodebook {
        let level = |a: f32| Matrix::new(3, 2, vec![a, 0.5, -1.0, 2.0, 0.25, 8.0]).unwrap();
        ResidualCodebook::new((0..11).map(|l| level(l as f32)).collect(), scale).unwrap()
    }

    #[test]
    fn codebooks_come_back_and_equal_ones_give_equal_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let x = Matrix::new(4, 2, vec![1.0, 2.0, -3.0, 0.1, 9.0, 4.0, 0.0, 0.0]).unwrap();
        let input = QuantizerInput::vectors(x.view());
        let random = Random::new(RandomOptions { levels: vec![7, 300] }).unwrap();
        let books: [Box<dyn Codebook>; 3] = [
            Box::new(book(ResidualScale::Raw)),
            Box::new(book(ResidualScale::Normalized)),
            random.fit(&input, &Run::quiet(5)).unwrap(),
        ];
        for b in &books {
            let (p, q) = (dir.path().join("a.safetensors"), dir.path().join("b.safetensors"));
            save_codebook(&p, b.as_ref()).unwrap();
            let back = load_codebook(&p).unwrap();
            assert_eq!(back.widths(), b.widths());
            assert_eq!(back.quantize(&input).unwrap(), b.quantize(&input).unwrap());
            save_codebook(&q, back.as_ref()).unwrap();
            assert_eq!(fs::read(&p).unwrap(), fs::read(&q).unwrap());
        }
    }

    #[test]
    fn tables_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sids.safetensors");
        let rows: [(ItemId, &[u32]); 4] =
            [(ItemId(2), &[9, 1]), (ItemId(0), &[3]), (ItemId(0), &[1, 2, 3]), (ItemId(1), &[3])];
        for order in [CodeOrder::Sequence, CodeOrder::Set] {
            let table = SidTable::new(5, order, rows).unwrap();
            save_sids(&path, &table).unwrap();
            assert_eq!(load_sids(&path).unwrap(), table);
        }
        let empty = SidTable::new(0, CodeOrder::Sequence, []).unwrap();
        save_sids(&path, &empty).unwrap();
        assert_eq!(load_sids(&path).unwrap(), empty);
        let large = SidTable::new(1, CodeOrder::Sequence, [(ItemId(0), &[1 << 31][..])]).unwrap();
        assert!(save_sids(&path, &large).unwrap_err().to_string().contains("int32"));
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let table = SidTable::new(2, CodeOrder::Sequence, [(ItemId(0), &[1, 2][..])]).unwrap();
        save_sids(&path, &table).unwrap();
        let good = fs::read(&path).unwrap();
        let message = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let message = load_sids(&path).unwrap_err().to_string();
            assert!(message.contains("x.safetensors"), "{message}");
            message
        };
        for end in [0, 7, 8, good.len() / 2, good.len() - 1] {
            message(&good[..end]);
        }
        // The columns follow the header in the order of their names: two codes, item, offsets.
        let body = good.len() - 4 * 5;
        let patched = |at: usize, value: i32| {
            let mut bad = good.clone();
            bad[body + 4 * at..body + 4 * at + 4].copy_from_slice(&value.to_le_bytes());
            bad
        };
        assert!(message(&patched(0, 7)).contains("hash"));
        assert!(message(&patched(0, -7)).contains("below 0"));
        assert!(message(&patched(2, 9)).contains("item 9"));
        assert!(message(&patched(4, 9)).contains("offsets"));
        save_codebook(&path, &book(ResidualScale::Raw)).unwrap();
        assert!(message(&fs::read(&path).unwrap()).contains("`codebook` file"));
        fs::remove_file(&path).unwrap();
        assert!(matches!(load_sids(&path), Err(Error::Read { .. })));
        assert!(load_codebook(&path).is_err());
    }

    #[test]
    fn unknown_tensors_are_named() {
        struct Strange;
        impl Codebook for Strange {
            fn widths(&self) -> &[u32] {
                &[]
            }
            fn quantize(&self, _: &QuantizerInput<'_>) -> Result<sidereal_core::Codes> {
                sidereal_core::Codes::new(0, 0, vec![])
            }
            fn reconstruct(&self, _: &sidereal_core::Codes, _: usize) -> Option<Matrix> {
                None
            }
            fn tensors(&self) -> Vec<(String, Matrix)> {
                vec![("bits".into(), Matrix::zeros(1, 1))]
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("strange.safetensors");
        save_codebook(&path, &Strange).unwrap();
        assert_eq!(load_codebook_tensors(&path).unwrap()[0].0, "bits");
        let message = load_codebook(&path).err().unwrap().to_string();
        assert!(message.contains("`bits`") && message.contains("strange"), "{message}");
        let none = MatrixRef::new(0, 1, &[]).unwrap();
        assert_eq!(Strange.quantize(&QuantizerInput::vectors(none)).unwrap().rows(), 0);
    }
}
