//! Tables of codes as other programs write and read them.
//!
//! | file | format |
//! |---|---|
//! | `.safetensors` | this project's own (see [`crate::files`]) |
//! | `.npy` | int matrix, a row an item, -1 behind short IDs; or GRID's, a column an item |
//! | `.json` | `{item: ["<a_1>", "<b_2>"]}` of LC-Rec, LETTER and MiniOneRec, or `{item: [1, 2]}` |
//! | `.tsv`, `.csv` | a header, then an item a line: its key, one column a code |
//!
//! The last two may be gzip files (`.gz`). A short row has empty cells at its end. Where any cell is
//! no whole number all are words, and each level counts its distinct words in alphabetic order; one
//! cell may hold a whole ID as words with spaces between them (GRAM's hierarchical ids).
//!
//! Keys are the numbers of the items or their ids in the source data; [`Keys`] says which.

mod delimited;
mod json;
mod npy;

use crate::files::{load_sids, save_sids};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use sidereal_core::{Code, CodeOrder, Error, ItemId, ItemTable, Result, SidTable, files};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What the keys of a table mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// Numbers, if every key is a whole number below the number of items, else source ids.
    #[default]
    Auto,
    /// Numbers of items from 0.
    Number,
    /// Ids of the source data.
    SourceId,
}

/// Most bytes of a text table after decompression: far above a table of 10 million items, far
/// below what a hostile archive could ask for.
const LARGEST: u64 = 4 << 30;

/// A line or entry of a table: key and cells, in the order of the file.
type Row = (String, Vec<String>);

/// Reads a table of the items of a catalogue; the name of the file tells the format.
///
/// `levels` keeps that many codes of each ID and drops the rest, such as a digit that only tells
/// items apart; 0 keeps all.
///
/// Errors name file and line: an unknown format, a key that is no item, an item twice, an item
/// without codes, a hole in the middle of an ID.
pub fn import(path: &Path, items: &ItemTable, keys: Keys, levels: usize) -> Result<SidTable> {
    if extension(path) == "safetensors" {
        let table = load_sids(path)?;
        if table.n_items() != items.len() {
            return Err(Error::data(
                path,
                format!("a table of {} items for {}", table.n_items(), items.len()),
            ));
        }
        return cut(&table, levels);
    }
    let keys = if extension(path) == "npy" { Keys::Number } else { keys };
    build(path, &rows(path, Some(items.len()))?, items, keys, levels)
}

/// The rows of a table other than this project's own; `items` is their number, where it is known.
fn rows(path: &Path, items: Option<usize>) -> Result<Vec<Row>> {
    match extension(path) {
        "npy" => npy::rows(path, items),
        "json" => json::rows(path, &text(path)?),
        "tsv" => delimited::rows(path, &text(path)?, '\t'),
        "csv" => delimited::rows(path, &text(path)?, ','),
        _ => Err(Error::data(
            path,
            "no known table of codes; expected .safetensors, .npy, .json, .tsv or .csv, the last \
             three also with .gz behind",
        )),
    }
}

/// Reads a table without its catalogue. Keys that are all whole numbers number the items; other
/// keys do so in the order of the file.
///
/// Errors: as for [`import`]; numbers of items far beyond the number of rows.
pub fn import_alone(path: &Path) -> Result<SidTable> {
    if extension(path) == "safetensors" {
        return load_sids(path);
    }
    let rows = rows(path, None)?;
    let numbers: Option<Vec<u32>> = rows.iter().map(|(key, _)| key.parse().ok()).collect();
    let (ids, keys) = match numbers {
        Some(numbers) => {
            let n = numbers.iter().max().map_or(0, |&m| m as usize + 1);
            // Every item costs memory, also those without a row.
            if n > 1000 + 100 * rows.len() {
                let message = format!("item {} in a table of {} rows", n - 1, rows.len());
                return Err(Error::data(path, message));
            }
            ((0..n).map(|i| i.to_string()).collect(), Keys::Number)
        }
        None => (rows.iter().map(|(key, _)| key).collect(), Keys::SourceId),
    };
    build(path, &rows, &ItemTable::new(ids), keys, 0)
}

/// Writes a table: `.safetensors` with everything, `.json` as LC-Rec has it, `.tsv` with numbers
/// of items as keys.
///
/// Errors: another ending; several IDs of an item in a format that has room for one.
pub fn export(path: &Path, table: &SidTable) -> Result<()> {
    match extension(path) {
        "safetensors" => save_sids(path, table),
        "npy" => npy::write(path, table),
        "json" => files::write_json(path, &table.to_index_json()?),
        "tsv" => delimited::write(path, table),
        _ => {
            Err(Error::data(path, "expected a name that ends in .safetensors, .npy, .json or .tsv"))
        }
    }
}

/// Refuses tables with several IDs an item, for formats with room for one.
fn one_id_each(table: &SidTable) -> Result<()> {
    match (1..table.n_rows()).find(|&r| table.item(r) == table.item(r - 1)) {
        None => Ok(()),
        Some(r) => Err(Error::mismatch(format!(
            "item {} has several IDs, the file has room for one",
            table.item(r).0
        ))),
    }
}

/// The ending without `.gz`.
fn extension(path: &Path) -> &str {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.rsplit_once('.').map_or("", |(_, end)| end)
}

/// The file as text, decompressed.
fn text(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(|e| Error::read(path, e))?;
    let mut out = String::new();
    let read = match path.extension().is_some_and(|e| e == "gz") {
        true => GzDecoder::new(file).take(LARGEST).read_to_string(&mut out),
        false => file.take(LARGEST).read_to_string(&mut out),
    };
    read.map_err(|e| Error::read(path, e))?;
    if out.len() as u64 == LARGEST {
        return Err(Error::data(path, format!("longer than {LARGEST} bytes")));
    }
    Ok(out)
}

/// The first `levels` codes of each ID.
fn cut(table: &SidTable, levels: usize) -> Result<SidTable> {
    if levels == 0 || levels >= table.max_len() {
        return Ok(table.clone());
    }
    let mut seen = BTreeSet::new();
    let rows = (0..table.n_rows()).map(|r| {
        let sid = table.sid(r);
        (table.item(r), &sid[..levels.min(sid.len())])
    });
    // Several IDs of an item may share the part that is left.
    SidTable::new(table.n_items(), table.order(), rows.filter(|r| seen.insert(*r)))
}

fn build(
    path: &Path,
    rows: &[Row],
    items: &ItemTable,
    keys: Keys,
    levels: usize,
) -> Result<SidTable> {
    let wrong = |message: String| Error::data(path, message);
    let item = resolver(rows, items, keys);
    let depth = rows.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
    let depth = if levels == 0 { depth } else { depth.min(levels) };
    let level = |l: usize| rows.iter().filter_map(move |(_, cells)| cells.get(l));
    let number = |cell: &String| cell.parse::<i32>().is_ok_and(|n| n >= 0);
    let numbers = (0..depth).all(|l| level(l).all(number));
    let words: Vec<BTreeMap<&str, Code>> = (0..depth)
        .map(|l| {
            let words: BTreeSet<&str> = level(l).map(String::as_str).collect();
            words.into_iter().zip(0..).collect()
        })
        .collect();
    let mut codes: Vec<(ItemId, Vec<Code>)> = Vec::with_capacity(rows.len());
    for (key, cells) in rows {
        let Some(item) = item(key) else {
            return Err(wrong(format!("`{key}` is no item of the catalogue of {}", items.len())));
        };
        let code = |(l, cell): (usize, &String)| match numbers {
            true => cell.parse().ok(),
            false => words[l].get(cell.as_str()).copied(),
        };
        let sid: Option<Vec<Code>> = cells.iter().take(depth).enumerate().map(code).collect();
        let sid = sid.filter(|s| !s.is_empty());
        codes.push((item, sid.ok_or_else(|| wrong(format!("`{key}` has no codes")))?));
    }
    let mut seen = vec![false; items.len()];
    for (item, _) in &codes {
        if std::mem::replace(&mut seen[item.index()], true) {
            return Err(wrong(format!("item {} stands there twice", items.id(*item))));
        }
    }
    let rows = codes.iter().map(|(i, c)| (*i, c.as_slice()));
    SidTable::new(items.len(), CodeOrder::Sequence, rows).map_err(|e| wrong(e.to_string()))
}

/// Keys to items.
fn resolver<'a>(
    rows: &[Row],
    items: &'a ItemTable,
    keys: Keys,
) -> impl Fn(&str) -> Option<ItemId> + use<'a> {
    let n = items.len();
    let number = move |key: &str| key.parse::<u32>().ok().filter(|&i| (i as usize) < n).map(ItemId);
    let numbers = match keys {
        Keys::Number => true,
        Keys::SourceId => false,
        Keys::Auto => rows.iter().all(|(key, _)| number(key).is_some()),
    };
    let known: HashMap<&str, ItemId> = match numbers {
        true => HashMap::new(),
        false => items.ids().iter().zip((0..).map(ItemId)).collect(),
    };
    move |key| if numbers { number(key) } else { known.get(key).copied() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_core::StringColumn;

    fn items(n: usize) -> ItemTable {
        ItemTable::new((0..n).map(|i| format!("B{i}")).collect::<StringColumn>())
    }

    fn read(name: &str, content: &str, n: usize, levels: usize) -> Result<SidTable> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        import(&path, &items(n), Keys::Auto, levels)
    }

    fn sids(table: &SidTable) -> Vec<&[Code]> {
        (0..table.n_rows()).map(|r| table.sid(r)).collect()
    }

    #[test]
    fn columns_of_numbers_and_of_words() {
        let t = read("a.tsv", "item\tc0\tc1\n1\t7\t\n0\t3\t5\n", 2, 0).unwrap();
        assert_eq!(sids(&t), [&[3, 5][..], &[7]]);
        let t = read("a.csv", "item,c0,c1\nB1,7,2\nB0,3,5\n", 3, 1).unwrap();
        assert_eq!((sids(&t), t.n_items()), (vec![&[3][..], &[7]], 3));
        let t = read("a.tsv", "item\ttokens\n0\tred polish\n1\tblue polish 04\n", 2, 0).unwrap();
        assert_eq!(sids(&t), [&[1, 0][..], &[0, 0, 0]]);
    }

    #[test]
    fn index_files() {
        let t = read("a.json", r#"{"0": ["<a_3>", "<b_5>"], "1": ["<a_7>"]}"#, 2, 0).unwrap();
        assert_eq!(sids(&t), [&[3, 5][..], &[7]]);
        let t = read("a.json", r#"{"B1": [4, 1], "B0": [0, 2]}"#, 2, 0).unwrap();
        assert_eq!(sids(&t), [&[0, 2][..], &[4, 1]]);
    }

    #[test]
    fn tables_without_a_catalogue() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            import_alone(&path)
        };
        let t = read("a.tsv", "item\tc0\n3\t7\n1\t5\n").unwrap();
        assert_eq!((t.n_items(), t.first_sid(ItemId(3))), (4, Some(&[7][..])));
        let t = read("a.json", r#"{"x": [4], "y": [2]}"#).unwrap();
        assert_eq!((t.n_items(), t.first_sid(ItemId(1))), (2, Some(&[2][..])));
        assert!(read("a.tsv", "item\tc0\n4000000\t7\n").is_err());
    }

    #[test]
    fn matrices_of_both_orders() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let write = |rows, cols, data: &[f32]| {
            let matrix = sidereal_core::Matrix::new(rows, cols, data.to_vec()).unwrap();
            sidereal_nn::vector_file::npy::save(&path, &matrix).unwrap();
            import(&path, &items(3), Keys::Auto, 0)
        };
        let table = write(3, 2, &[4.0, 1.0, 0.0, -1.0, 4.0, 2.0]).unwrap();
        assert_eq!(sids(&table), [&[4, 1][..], &[0], &[4, 2]]);
        // GRID: a column an item.
        let table = write(2, 3, &[4.0, 0.0, 4.0, 1.0, 5.0, 2.0]).unwrap();
        assert_eq!(sids(&table), [[4, 1], [0, 5], [4, 2]]);
        let message = |r: Result<SidTable>| r.unwrap_err().to_string();
        assert!(message(write(2, 2, &[0.0; 4])).contains("2 x 2 codes for 3 items"));
        assert!(message(write(3, 1, &[0.0, 0.5, 1.0])).contains("item 1 has the code 0.5"));
        assert!(message(write(3, 1, &[0.0, -1.0, 1.0])).contains("`1` has no codes"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |name: &str, text: &str| read(name, text, 2, 0).unwrap_err().to_string();
        assert!(error("a.xyz", "").contains("expected .safetensors"));
        assert!(error("a.tsv", "item\tc0\n9\t1\n").contains("`9` is no item"));
        assert!(error("a.tsv", "item\tc0\n0\t1\n0\t2\n").contains("twice"));
        assert!(error("a.tsv", "item\tc0\n0\t\n").contains("`0` has no codes"));
        assert!(error("a.tsv", "item\tc0\tc1\n0\t\t4\n").contains("a.tsv:2"));
        assert!(error("a.tsv", "item\tc0\n0\t1\t4\n").contains("a.tsv:2"));
        assert!(error("a.tsv", "").contains("header"));
        assert!(error("a.json", "{\"0\": 3}").contains("a.json"));
        assert!(error("a.json", "{\"0\": [\"<b_1>\"]}").contains("<b_1>"));
        assert!(error("a.json", "[1]").contains("a.json"));
        assert!(error("a.tsv.gz", "no gzip").contains("a.tsv.gz"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(codes in proptest::collection::vec(
            proptest::collection::vec(0u32..300, 1..6), 1..40)) {
            let rows = codes.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
            let table = SidTable::new(codes.len(), CodeOrder::Sequence, rows).unwrap();
            let dir = tempfile::tempdir().unwrap();
            for name in ["t.tsv", "t.json", "t.npy", "t.safetensors"] {
                let path = dir.path().join(name);
                export(&path, &table).unwrap();
                let back = import(&path, &items(codes.len()), Keys::Auto, 0).unwrap();
                prop_assert_eq!(back.version(), table.version());
            }
        }

        #[test]
        fn any_text_is_a_table_or_an_error(text in "[a-z0-9\t,\n\"\\[\\]{}:<_> ]{0,80}") {
            for name in ["t.tsv", "t.csv", "t.json"] {
                let _ = read(name, &text, 5, 0);
            }
        }
    }
}
