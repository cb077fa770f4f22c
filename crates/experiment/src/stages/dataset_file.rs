//! A data set as one safetensors file: columns as tensors, the load report in the metadata.
//!
//! | tensor | type |
//! |---|---|
//! | `items.ids`, `items.column.<name>`, `users.ids` | U8 text, with `<tensor>.offsets` (U64) |
//! | `interactions.offsets`, `.items`, `.times` | U64, U32, I64 |
//! | `parts` | U8: 0 train, 1 valid, 2 test |

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use sidereal_core::{Error, ItemId, ItemTable, Result, Sequences, StringColumn, files};
use sidereal_data::{Dataset, LoadReport, Part};
use std::collections::HashMap;
use std::path::Path;

const METADATA: &str = "sidereal";
const COLUMN: &str = "items.column.";

/// Writes a data set.
pub fn save(path: &Path, dataset: &Dataset) -> Result<()> {
    let mut out = Tensors::default();
    out.text("items.ids", dataset.items.ids());
    for name in dataset.items.column_names() {
        if let Some(column) = dataset.items.column(name) {
            out.text(&format!("{COLUMN}{name}"), column);
        }
    }
    out.text("users.ids", &dataset.user_ids);
    let s = &dataset.interactions;
    out.words("interactions.offsets", Dtype::U64, s.offsets().iter().map(|v| v.to_le_bytes()));
    out.words("interactions.items", Dtype::U32, s.all_items().iter().map(|v| v.0.to_le_bytes()));
    if let Some(times) = s.all_times() {
        out.words("interactions.times", Dtype::I64, times.iter().map(|v| v.to_le_bytes()));
    }
    if let Some(parts) = &dataset.parts {
        out.words("parts", Dtype::U8, parts.iter().map(|p| [*p as u8]));
    }
    let report = serde_json::to_string(&dataset.report)
        .map_err(|e| Error::other("writing the load report", e))?;
    let metadata = HashMap::from([(METADATA.to_string(), report)]);
    let bytes = out.serialize(metadata)?;
    files::write_bytes(path, &bytes)
}

/// Reads what [`save`] writes.
pub fn load(path: &Path) -> Result<Dataset> {
    let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
    let wrong = |message: String| Error::data(path, message);
    let file = SafeTensors::deserialize(&bytes).map_err(|e| wrong(e.to_string()))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| wrong(e.to_string()))?;
    let report = header.metadata().as_ref().and_then(|m| m.get(METADATA));
    let report: Value = serde_json::from_str(report.map_or("", String::as_str))
        .map_err(|e| wrong(format!("load report: {e}")))?;
    let read = Reader { path, file };
    let mut items = ItemTable::new(read.text("items.ids")?);
    let mut columns: Vec<&str> =
        read.file.names().into_iter().filter_map(|n| n.strip_prefix(COLUMN)).collect();
    columns.retain(|name| !name.ends_with(".offsets"));
    for name in columns {
        items = items.with_column(name, read.text(&format!("{COLUMN}{name}"))?)?;
    }
    let offsets = read.words("interactions.offsets", Dtype::U64, u64::from_le_bytes)?;
    let ids = read.words("interactions.items", Dtype::U32, |b| ItemId(u32::from_le_bytes(b)))?;
    let times = match read.has("interactions.times") {
        true => Some(read.words("interactions.times", Dtype::I64, i64::from_le_bytes)?),
        false => None,
    };
    let interactions = Sequences::new(offsets, ids, times)?;
    let mut dataset = Dataset::new(items, read.text("users.ids")?, interactions)?;
    if read.has("parts") {
        dataset.parts = Some(read.words("parts", Dtype::U8, |[b]: [u8; 1]| match b {
            0 => Part::Train,
            1 => Part::Valid,
            _ => Part::Test,
        })?);
    }
    dataset.report = report_from(&report);
    Ok(dataset)
}

/// The report is shown, not computed with: a field that is missing is empty.
fn report_from(value: &Value) -> LoadReport {
    let count = |key: &str| value[key].as_u64().unwrap_or(0);
    let texts = |key: &str| -> Vec<String> {
        let list = value[key].as_array().into_iter().flatten();
        list.filter_map(|v| v.as_str().map(str::to_string)).collect()
    };
    let extras = value["extras"].as_object().into_iter().flatten();
    LoadReport {
        rows: count("rows"),
        bad_lines: count("bad_lines"),
        first_bad_lines: texts("first_bad_lines"),
        dropped_by_rating: count("dropped_by_rating"),
        dropped_duplicates: count("dropped_duplicates"),
        dropped_by_core: count("dropped_by_core"),
        users: count("users"),
        items: count("items"),
        interactions: count("interactions"),
        users_without_interactions: count("users_without_interactions"),
        items_without_interactions: count("items_without_interactions"),
        items_without_text: count("items_without_text"),
        notes: texts("notes"),
        extras: extras.map(|(k, v)| (k.clone(), v.clone())).collect(),
    }
}

#[derive(Default)]
struct Tensors(Vec<(String, Dtype, usize, Vec<u8>)>);

impl Tensors {
    fn text(&mut self, name: &str, column: &StringColumn) {
        let mut offsets = vec![0u64];
        let mut bytes = Vec::new();
        for value in column.iter() {
            bytes.extend_from_slice(value.as_bytes());
            offsets.push(bytes.len() as u64);
        }
        self.0.push((name.to_string(), Dtype::U8, bytes.len(), bytes));
        let offsets = offsets.iter().map(|v| v.to_le_bytes());
        self.words(&format!("{name}.offsets"), Dtype::U64, offsets);
    }

    fn words<const W: usize>(
        &mut self,
        name: &str,
        dtype: Dtype,
        words: impl Iterator<Item = [u8; W]>,
    ) {
        let bytes: Vec<u8> = words.flatten().collect();
        self.0.push((name.to_string(), dtype, bytes.len() / W, bytes));
    }

    fn serialize(&self, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
        let fail = |e| Error::other("laying out the data set", e);
        let views = self
            .0
            .iter()
            .map(|(name, dtype, len, bytes)| {
                Ok((name, TensorView::new(*dtype, vec![*len], bytes).map_err(fail)?))
            })
            .collect::<Result<Vec<_>>>()?;
        safetensors::serialize(views, Some(metadata)).map_err(fail)
    }
}

struct Reader<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
}

impl Reader<'_> {
    fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_ok()
    }

    fn words<const W: usize, T>(
        &self,
        name: &str,
        dtype: Dtype,
        from: impl Fn([u8; W]) -> T,
    ) -> Result<Vec<T>> {
        let wrong = |m: String| Error::data(self.path, format!("tensor `{name}`: {m}"));
        let tensor = self.file.tensor(name).map_err(|e| wrong(e.to_string()))?;
        if tensor.dtype() != dtype {
            return Err(wrong(format!("expected {dtype:?}, got {:?}", tensor.dtype())));
        }
        Ok(tensor.data().as_chunks::<W>().0.iter().map(|b| from(*b)).collect())
    }

    fn text(&self, name: &str) -> Result<StringColumn> {
        let wrong = |m: &str| Error::data(self.path, format!("tensor `{name}`: {m}"));
        let bytes = self.words(name, Dtype::U8, |[b]: [u8; 1]| b)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("no UTF-8"))?;
        let offsets =
            self.words(&format!("{name}.offsets"), Dtype::U64, |b| u64::from_le_bytes(b) as usize)?;
        let mut column = StringColumn::default();
        for w in offsets.windows(2) {
            column.push(text.get(w[0]..w[1]).ok_or_else(|| wrong("its offsets do not fit"))?);
        }
        Ok(column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_as_it_was() {
        let text = |v: &[&str]| v.iter().collect::<StringColumn>();
        let items = ItemTable::new(text(&["a", "ü", ""]))
            .with_column("title", text(&["One", "", "Drei"]))
            .unwrap();
        let ids = [2, 0, 1].map(ItemId).to_vec();
        let interactions = Sequences::new(vec![0, 2, 2, 3], ids, Some(vec![5, -6, 7])).unwrap();
        let mut data = Dataset::new(items, text(&["u", "v", "w"]), interactions).unwrap();
        data.parts = Some(vec![Part::Train, Part::Test, Part::Valid]);
        data.report.bad_lines = 3;
        data.report.notes = vec!["note".into()];
        data.report.extras.insert("world".into(), serde_json::json!({"users": 3}));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.safetensors");
        save(&path, &data).unwrap();
        assert_eq!(load(&path).unwrap(), data);
        std::fs::write(&path, b"nothing").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("d.safetensors"));
    }
}
