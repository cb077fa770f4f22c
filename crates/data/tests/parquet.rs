//! Parquet files written by the crate's own writer come back as the rows they were made of.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;

use common::{fails, folder, history, load, load_with, real, times};
use parquet::basic::{Compression, GzipLevel};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type, Int96,
    Int96Type,
};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::json;
use sidereal_data::{Dataset, Part};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// Values of a column; `None` is null.
enum Cells {
    I32(Vec<Option<i32>>),
    I64(Vec<Option<i64>>),
    I96(Vec<Option<Int96>>),
    F32(Vec<Option<f32>>),
    F64(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
}

/// A column: its line of the schema, and its values.
type Column<'a> = (&'a str, Cells);

fn i32s(v: impl IntoIterator<Item = i32>) -> Cells {
    Cells::I32(v.into_iter().map(Some).collect())
}

fn i64s(v: impl IntoIterator<Item = i64>) -> Cells {
    Cells::I64(v.into_iter().map(Some).collect())
}

fn texts<S: ToString>(v: impl IntoIterator<Item = S>) -> Cells {
    Cells::Text(v.into_iter().map(|s| Some(s.to_string())).collect())
}

impl Cells {
    fn len(&self) -> usize {
        match self {
            Cells::I32(v) => v.len(),
            Cells::I64(v) => v.len(),
            Cells::I96(v) => v.len(),
            Cells::F32(v) => v.len(),
            Cells::F64(v) => v.len(),
            Cells::Text(v) => v.len(),
        }
    }

    /// Writes rows `from..to` as one chunk.
    fn write(&self, w: &mut SerializedColumnWriter<'_>, optional: bool, from: usize, to: usize) {
        fn put<T: DataType, V: Clone>(
            w: &mut SerializedColumnWriter<'_>,
            optional: bool,
            rows: &[Option<V>],
            convert: impl Fn(V) -> T::T,
        ) {
            let levels: Vec<i16> = rows.iter().map(|v| i16::from(v.is_some())).collect();
            let values: Vec<T::T> = rows.iter().flatten().cloned().map(convert).collect();
            assert!(optional || values.len() == rows.len(), "a required column has no nulls");
            w.typed::<T>().write_batch(&values, optional.then_some(&levels[..]), None).unwrap();
        }
        match self {
            Cells::I32(v) => put::<Int32Type, _>(w, optional, &v[from..to], |v| v),
            Cells::I64(v) => put::<Int64Type, _>(w, optional, &v[from..to], |v| v),
            Cells::I96(v) => put::<Int96Type, _>(w, optional, &v[from..to], |v| v),
            Cells::F32(v) => put::<FloatType, _>(w, optional, &v[from..to], |v| v),
            Cells::F64(v) => put::<DoubleType, _>(w, optional, &v[from..to], |v| v),
            Cells::Text(v) => put::<ByteArrayType, _>(w, optional, &v[from..to], |v: String| {
                ByteArray::from(v.into_bytes())
            }),
        }
    }
}

/// Writes a file whose row groups end after the given rows, and at the end.
fn write(path: &Path, columns: &[Column<'_>], ends: &[usize], properties: WriterPropertiesBuilder) {
    let mut schema = "message rows {\n".to_string();
    columns.iter().for_each(|(line, _)| writeln!(schema, "  {line};").unwrap());
    let schema = Arc::new(parse_message_type(&(schema + "}")).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut w = SerializedFileWriter::new(file, schema, Arc::new(properties.build())).unwrap();
    let rows = columns[0].1.len();
    let mut from = 0;
    for &to in ends.iter().chain([&rows]) {
        let mut group = w.next_row_group().unwrap();
        for (line, cells) in columns {
            assert_eq!(cells.len(), rows);
            let mut column = group.next_column().unwrap().unwrap();
            cells.write(&mut column, line.starts_with("optional"), from, to);
            column.close().unwrap();
        }
        group.close().unwrap();
        from = to;
    }
    w.close().unwrap();
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
}

const ROWS: usize = 20_000;

/// Row `i` of a world: user, item, seconds, half stars (0: none), part.
fn row(i: usize) -> (i64, i64, i64, i64, &'static str) {
    let mixed = sidereal_core::seed::mix(i as u64);
    let part = ["train", "train", "train", "valid", "test"][(mixed >> 40) as usize % 5];
    // Some rows of a user share a time: the order of the file must decide.
    let seconds = 1_000_000_000 + (mixed >> 50) as i64;
    ((mixed % 97) as i64, ((mixed >> 8) % 613) as i64, seconds, (mixed >> 20) as i64 % 11, part)
}

fn same(a: &Dataset, b: &Dataset, what: &str) {
    assert_eq!(a.user_ids, b.user_ids, "{what}");
    assert_eq!(a.items.ids(), b.items.ids(), "{what}");
    assert!(a.interactions == b.interactions, "{what}");
    assert!(a.parts == b.parts, "{what}");
}

/// The same rows as text, through another reader.
fn as_csv() -> Dataset {
    let mut text = "user,item,timestamp,rating,part\n".to_string();
    for (u, i, t, r, p) in (0..ROWS).map(row) {
        let rating = if r == 0 { String::new() } else { format!("{}", r as f64 / 2.0) };
        writeln!(text, "{u},{i},{t},{rating},{p}").unwrap();
    }
    let dir = folder(&[("rows.csv", text.as_bytes())]);
    load("csv", &dir.path().join("rows.csv"), &[("split", json!("part"))]).unwrap()
}

#[test]
fn every_codec_encoding_and_layout() {
    let want = as_csv();
    let rows = || (0..ROWS).map(row);
    let columns = [
        ("required int64 user", i64s(rows().map(|r| r.0))),
        ("optional binary ignored (UTF8)", Cells::Text(vec![None; ROWS])),
        ("required binary item (UTF8)", texts(rows().map(|r| r.1))),
        ("optional int64 timestamp", i64s(rows().map(|r| r.2))),
        (
            "optional double rating",
            Cells::F64(rows().map(|r| (r.3 > 0).then_some(r.3 as f64 / 2.0)).collect()),
        ),
        ("required binary part (UTF8)", texts(rows().map(|r| r.4))),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.parquet");
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ];
    let split = [("split", json!("part"))];
    for codec in codecs {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for dictionary in [true, false] {
                // Groups that end inside and at the edge of a batch of 8192 rows, and empty ones.
                for ends in [&[][..], &[1, 8192, 8193, 16_385], &[0, 8192, 8192, 16_384, ROWS]] {
                    let p = properties()
                        .set_compression(codec)
                        .set_writer_version(version)
                        .set_dictionary_enabled(dictionary)
                        .set_data_page_size_limit(5_000)
                        .set_write_batch_size(300);
                    write(&path, &columns, ends, p);
                    let what = format!("{codec} {version:?} {dictionary} {ends:?}");
                    let data = load("parquet", &path, &split).unwrap();
                    same(&data, &want, &what);
                    assert_eq!(data.report.rows, ROWS as u64, "{what}");
                }
            }
        }
    }
    // The threads of a run and the filters change nothing either.
    let threads = load_with("parquet", &path, &split, 4).unwrap();
    same(&threads, &want, "threads");
    let liked = [
        ("split", json!("part")),
        ("min_rating", json!(4.0)),
        ("bad_lines", json!("skip")),
        ("max_bad_lines", json!(ROWS)),
    ];
    let data = load("parquet", &path, &liked).unwrap();
    let (low, none) = (rows().filter(|r| (1..8).contains(&r.3)), rows().filter(|r| r.3 == 0));
    assert_eq!(data.report.dropped_by_rating, low.count() as u64);
    assert_eq!(data.report.bad_lines, none.count() as u64);
}

#[test]
fn every_type_of_every_column() {
    let want = as_csv();
    let rows = || (0..ROWS).map(row);
    let number = |r: (i64, i64, i64, i64, &str)| r.0 as i32;
    let users: Vec<Box<dyn Fn() -> Column<'static>>> = vec![
        Box::new(move || ("required int32 user", i32s(rows().map(number)))),
        Box::new(move || ("optional int32 user", i32s(rows().map(number)))),
        Box::new(move || ("required int32 user (INTEGER(16,false))", i32s(rows().map(number)))),
        Box::new(move || ("required int64 user (UINT_64)", i64s(rows().map(|r| r.0)))),
        Box::new(move || ("optional binary user", texts(rows().map(|r| r.0)))),
        Box::new(move || ("required binary user (STRING)", texts(rows().map(|r| r.0)))),
        Box::new(move || ("required binary user (ENUM)", texts(rows().map(|r| r.0)))),
    ];
    let seconds = || rows().map(|r| r.2);
    let times = || -> Vec<Column<'static>> {
        vec![
            ("required int32 timestamp", i32s(seconds().map(|t| t as i32))),
            ("required int64 timestamp", i64s(seconds())),
            ("required int32 timestamp (UINT_32)", i32s(seconds().map(|t| t as i32))),
            ("required int64 timestamp (TIMESTAMP_MILLIS)", i64s(seconds().map(|t| t * 1000 + 9))),
            (
                "optional int64 timestamp (TIMESTAMP(MICROS,true))",
                i64s(seconds().map(|t| t * 1_000_000 + 9)),
            ),
            (
                "required int64 timestamp (TIMESTAMP(NANOS,false))",
                i64s(seconds().map(|t| t * 1_000_000_000 + 9)),
            ),
            (
                "required double timestamp",
                Cells::F64(seconds().map(|t| Some(t as f64 + 0.25)).collect()),
            ),
            ("required binary timestamp (UTF8)", texts(seconds())),
            (
                "required int96 timestamp",
                Cells::I96(
                    seconds()
                        .map(|t| {
                            let nanos = (t % 86_400) as u64 * 1_000_000_000;
                            let mut v = Int96::new();
                            let day = (t / 86_400 + 2_440_588) as u32;
                            v.set_data(nanos as u32, (nanos >> 32) as u32, day);
                            Some(v)
                        })
                        .collect(),
                ),
            ),
        ]
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.parquet");
    let (n_users, n_times) = (users.len(), times().len());
    for k in 0..n_users.max(n_times) {
        let time = times().swap_remove(k % n_times);
        let user = users[k % n_users]();
        let what = format!("{} {}", user.0, time.0);
        let columns = [
            // Another order than that of the options.
            time,
            ("required binary part (UTF8)", texts(rows().map(|r| r.4))),
            ("required int32 item", i32s(rows().map(|r| r.1 as i32))),
            user,
        ];
        write(&path, &columns, &[5_000, 15_000], properties());
        let data = load("parquet", &path, &[("split", json!("part"))]).unwrap();
        same(&data, &want, &what);
    }
}

#[test]
fn ratings_of_every_type() {
    let halves = [7, 8, 9, 10];
    let columns: [Column<'_>; 5] = [
        ("required float stars", Cells::F32(halves.map(|h| Some(h as f32 / 2.0)).into())),
        ("optional double stars", Cells::F64(halves.map(|h| Some(f64::from(h) / 2.0)).into())),
        ("required binary stars (UTF8)", texts(halves.map(|h| f64::from(h) / 2.0))),
        ("required int32 stars (DECIMAL(3,1))", i32s(halves.map(|h| h * 5))),
        ("required int64 stars (DECIMAL(12,2))", i64s(halves.map(|h| i64::from(h) * 50))),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.parquet");
    for column in columns {
        let line = column.0;
        let all = [
            ("required int32 user", i32s([1, 1, 1, 1])),
            ("required int32 item", i32s([1, 2, 3, 4])),
            column,
        ];
        write(&path, &all, &[], properties());
        let data = load("parquet", &path, &[("min_rating", json!(4.0))]).unwrap();
        assert_eq!(history(&data, "1"), ["2", "3", "4"], "{line}");
        assert!(data.interactions.all_times().is_none());
    }
}

#[test]
fn numbers_that_signs_would_spoil() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.parquet");
    let columns = [
        ("required int32 user (UINT_32)", i32s([-1, -1, 7])),
        ("required int64 item (INTEGER(64,false))", i64s([-1, i64::MIN, 5])),
        // Days since 1970.
        ("required int32 time (DATE)", i32s([2, 1, -1])),
    ];
    write(&path, &columns, &[], properties());
    let data = load("parquet", &path, &[]).unwrap();
    assert_eq!(history(&data, "4294967295"), ["9223372036854775808", "18446744073709551615"]);
    assert_eq!(times(&data, "4294967295"), [86_400, 172_800]);
    assert_eq!(times(&data, "7"), [-86_400]);
    // Without a sign in the type the numbers are what they are.
    let columns = [
        ("required int32 user", i32s([-1, i32::MIN])),
        ("required int64 item", i64s([i64::MIN, i64::MAX])),
    ];
    write(&path, &columns, &[], properties());
    let data = load("parquet", &path, &[]).unwrap();
    assert_eq!(history(&data, "-1"), ["-9223372036854775808"]);
    assert_eq!(history(&data, "-2147483648"), ["9223372036854775807"]);
}

#[test]
fn nulls_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.parquet");
    let some = |v: &[Option<&str>]| Cells::Text(v.iter().map(|s| s.map(String::from)).collect());
    let columns = [
        ("optional binary who (UTF8)", some(&[Some("a"), None, Some("a"), Some("b"), Some("b")])),
        ("required binary what (UTF8)", texts(["x", "y", "z", "", "é"])),
        ("optional int32 when", Cells::I32(vec![Some(3), Some(1), Some(2), Some(1), None])),
        ("required binary part (UTF8)", texts(["train", "test", "test", "valid", "train"])),
    ];
    write(&path, &columns, &[2], properties());
    let message = fails("parquet", &path, &[]);
    assert!(message.contains("user") && message.contains("who, what, when, part"), "{message}");
    let map = |bad: &str| {
        vec![
            ("user", json!("who")),
            ("item", json!("what")),
            ("time", json!("when")),
            ("split", json!("part")),
            ("bad_lines", json!(bad)),
        ]
    };
    let message = fails("parquet", &path, &map("fail"));
    assert!(message.contains(":2") && message.contains("user"), "{message}");
    let data = load("parquet", &path, &map("skip")).unwrap();
    assert_eq!(history(&data, "a"), ["z", "x"]);
    assert_eq!(times(&data, "a"), [2, 3]);
    assert_eq!(data.parts.as_ref().unwrap()[..2], [Part::Test, Part::Train]);
    assert!(data.report.bad_lines >= 2, "{:?}", data.report);
    let mut wrong = map("skip");
    wrong[2] = ("time", json!("whenn"));
    assert!(fails("parquet", &path, &wrong).contains("data.time"));

    // Columns of other kinds are in the file but not in the way; a list is none of ours.
    let columns = [
        ("required int32 user", i32s([1, 2])),
        ("required int32 item", i32s([1, 2])),
        ("required double weight", Cells::F64(vec![Some(0.5), Some(f64::NAN)])),
    ];
    write(&path, &columns, &[], properties());
    assert_eq!(load("parquet", &path, &[]).unwrap().interactions.len(), 2);
    let message = fails("parquet", &path, &[("item", json!("weight"))]);
    assert!(message.contains("item: expected text or a number"), "{message}");
    let message = fails("parquet", &path, &[("rating", json!("weight")), ("min_rating", json!(1))]);
    assert!(message.contains("rating: expected a finite number"), "{message}");
}

#[test]
fn broken_files_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.parquet");
    let columns = [
        ("required int64 user", i64s((0..60).map(|i| i % 7))),
        ("optional binary item (UTF8)", texts((0..60).map(|i| i % 11))),
        ("required int32 timestamp", i32s(0..60)),
    ];
    for codec in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        write(&path, &columns, &[30], properties().set_compression(codec));
        let good = std::fs::read(&path).unwrap();
        for len in (0..good.len()).step_by(7) {
            std::fs::write(&path, &good[..len]).unwrap();
            let message = fails("parquet", &path, &[]);
            assert!(message.contains("rows.parquet"), "{message}");
        }
        // Any byte may be wrong: never a panic, at most other rows.
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            let _ = load("parquet", &path, &[]);
        }
    }
    write(
        &path,
        &[("required int32 user", i32s([])), ("required int32 item", i32s([]))],
        &[],
        properties(),
    );
    let empty = load("parquet", &path, &[]);
    assert!(empty.is_err() || empty.unwrap().interactions.is_empty());
}

#[test]
fn real_rows_are_those_of_the_text_file() {
    let Some(path) = real("amazon2014-beauty") else { return };
    if !cfg!(feature = "zstd") {
        println!("skipped: interactions.parquet because its pages need --features zstd");
        return;
    }
    let text = load("folder", &path, &[]).unwrap();
    let data = load("parquet", &path.join("interactions.parquet"), &[]).unwrap();
    assert_eq!(data.interactions.len(), 22_363);
    assert_eq!(data.interactions.all_items().len(), 198_502);
    // The file's numbers are the folder's; here they are ids in the order of appearance.
    for (user, items) in data.interactions.iter() {
        let number: u32 = data.user_ids.get(user.index()).parse().unwrap();
        let number = sidereal_core::UserId(number);
        let ids = items.iter().map(|&i| data.items.id(i).parse::<u32>().unwrap());
        assert!(ids.eq(text.interactions.items(number).iter().map(|i| i.0)), "user {user:?}");
        assert_eq!(data.interactions.times(user), text.interactions.times(number));
    }
}
