//! Readers of ranked lists and truth: each format by hand, faults with their place, round trips.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use proptest::prelude::*;
use sidereal_core::{ItemId, RankedLists, StringColumn};
use sidereal_metrics::lists::{Format, Names, join, read_lists, read_truth};
use std::path::PathBuf;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn named(names: &Names, lists: &RankedLists) -> Vec<Vec<String>> {
    lists.iter().map(|l| l.iter().map(|&i| names.name(i).to_string()).collect()).collect()
}

#[test]
fn trec_orders_by_score_and_then_by_name() {
    let folder = Folder::new();
    // Ranks are not read; equal scores go to the larger name, as in trec_eval.
    let run =
        folder.file("a.run", "u1 Q0 b 1 2.5 x\nu2 Q0 b 9 1 x\nu1 Q0 c 2 7 x\nu1 Q0 d 3 2.5 x\n\n");
    let qrels = folder.file("a.qrels", "u2 0 b 1\nu3 0 c 2\nu1\t0\td 3\nu1 0 b 0\nu4 0 b -1\n");
    let mut items = Names::new();
    let format = Format::of(&run).unwrap();
    assert_eq!(format, Format::Trec);
    let lists = read_lists(&run, format, &mut items).unwrap();
    assert_eq!(lists.users, ["u1", "u2"]);
    assert_eq!(named(&items, &lists.lists), [vec!["c", "d", "b"], vec!["b"]]);
    let truth = read_truth(&qrels, format, &mut items).unwrap();
    assert_eq!((truth.users.join(","), truth.left_out), ("u2,u3,u1".into(), 1));
    assert_eq!(truth.truth.gains(2), Some(&[3.0][..]));
    let joined = join(&lists, truth);
    assert_eq!(named(&items, &joined.lists), [vec!["b"], vec![], vec!["c", "d", "b"]]);
    assert_eq!((joined.without_list, joined.without_truth), (1, 0));
}

#[test]
fn csv_has_ranks_scores_or_neither() {
    let folder = Folder::new();
    let read = |name: &str, text: &str| {
        let path = folder.file(name, text);
        let mut items = Names::new();
        let lists = read_lists(&path, Format::of(&path).unwrap(), &mut items).unwrap();
        named(&items, &lists.lists)
    };
    let expected = [vec!["y", "x, z"], vec!["x, z"]];
    assert_eq!(
        read("a.csv", "\u{feff}user,item,rank\r\na,\"x, z\",2\r\na,y,1\r\nb,\"x, z\",1\r\n"),
        expected
    );
    assert_eq!(read("b.csv", "item,score,user\n\"x, z\",-1,a\ny,0,a\n\"x, z\",1,b"), expected);
    assert_eq!(read("c.csv", "user,item\na,y\nb,\"x, z\"\na,\"x, z\"\n"), expected);
    let path = folder.file("d.csv", "user,item,gain\na,y,0.5\na,x,2\n");
    let mut items = Names::new();
    let truth = read_truth(&path, Format::Csv, &mut items).unwrap().truth;
    assert_eq!(truth.gains(0), Some(&[0.5, 2.0][..]));
    let path = folder.file("e.csv", "user,item,rating\na,y,0.5\n");
    assert_eq!(read_truth(&path, Format::Csv, &mut items).unwrap().truth.gains(0), None);
}

#[test]
fn recbole_and_minionerec() {
    let folder = Folder::new();
    let path =
        folder.file("a.inter", "user_id:token\titem_id:token\tscore:float\n7\t3\t0.1\n7\t5\t0.9\n");
    let mut items = Names::new();
    assert_eq!(Format::of(&path).unwrap(), Format::RecBole);
    let lists = read_lists(&path, Format::RecBole, &mut items).unwrap();
    assert_eq!(named(&items, &lists.lists), [["5", "3"]]);
    let truth = read_truth(&path, Format::RecBole, &mut items).unwrap().truth;
    assert_eq!((truth.get(0).len(), truth.gains(0)), (2, None));

    let text = r#"[{"input": "h", "output": "\"<a_1><b_2>\"\n", "predict": ["<a_3> ", "<a_1><b_2>", "<a_1><b_2>"]},
                   {"output": ["x", "y"], "predict": []}]"#;
    let path = folder.file("r.json", text);
    let mut items = Names::new();
    let lists = read_lists(&path, Format::of(&path).unwrap(), &mut items).unwrap();
    assert_eq!(named(&items, &lists.lists)[0], ["<a_3>", "<a_1><b_2>", "<a_1><b_2>"]);
    let joined = join(&lists, read_truth(&path, Format::MiniOneRec, &mut items).unwrap());
    assert_eq!(items.name(joined.truth.get(0)[0]), "<a_1><b_2>");
    assert_eq!((joined.truth.get(1).len(), joined.without_list), (2, 0));
}

#[test]
fn a_catalogue_is_fixed() {
    let folder = Folder::new();
    let ids: StringColumn = ["x", "y"].iter().collect();
    let path = folder.file("a.csv", "user,item\na,q\na,y\n");
    let mut items = Names::of_catalogue(&ids);
    let lists = read_lists(&path, Format::Csv, &mut items).unwrap();
    assert_eq!((lists.unknown, lists.lists.get(0)), (1, &[ItemId(1)][..]));
    let err = read_truth(&path, Format::Csv, &mut items).unwrap_err().to_string();
    assert!(err.contains("a.csv:2") && err.contains("`q`"), "{err}");
    assert_eq!(items.len(), 2);
}

#[test]
fn faults_have_a_place() {
    let folder = Folder::new();
    let fault = |name: &str, text: &str| {
        let path = folder.file(name, text);
        let format = Format::of(&path).unwrap();
        read_lists(&path, format, &mut Names::new()).unwrap_err().to_string()
    };
    let has = |text: String, parts: &[&str]| {
        assert!(parts.iter().all(|p| text.contains(p)), "{text} lacks {parts:?}");
    };
    has(fault("a.run", "u Q0 i 1 2 x\nu Q0 i\n"), &["a.run:2", "3 fields, expected 6"]);
    has(fault("b.run", "u Q0 i 1 high x\n"), &["b.run:1", "`high`"]);
    has(fault("c.run", "u Q0 i 1 NaN x\n"), &["c.run:1", "`NaN`"]);
    has(fault("d.csv", "user,thing\n"), &["d.csv:1", "no column `item`", "thing"]);
    has(fault("e.csv", "user,item\na,\"b\n"), &["e.csv:2", "quote"]);
    has(fault("f.csv", "user,item\n"), &["f.csv", "no rows"]);
    has(fault("g.run", ""), &["g.run", "no rows"]);
    has(fault("h.json", "[{\"predict\":\n 3}]"), &["h.json", "row 0", "`predict`"]);
    has(fault("i.json", "[{}]"), &["row 0", "missing"]);
    has(fault("j.json", "[{\n\"predict\": [}"), &["j.json:2"]);
    has(fault("k.json", "[]"), &["no rows"]);
    let path = folder.file("l.qrels", "u 0 i 0\n");
    let err = read_truth(&path, Format::Trec, &mut Names::new()).unwrap_err().to_string();
    has(err, &["no user has a relevant item"]);
    let path = folder.0.path().join("none.csv");
    let err = read_lists(&path, Format::Csv, &mut Names::new()).unwrap_err().to_string();
    has(err, &["cannot read", "none.csv"]);
    let path = folder.0.path().join("bytes.csv");
    std::fs::write(&path, b"user,item\n\xff,a\n").unwrap();
    let err = read_lists(&path, Format::Csv, &mut Names::new()).unwrap_err().to_string();
    has(err, &["bytes.csv:2", "UTF-8"]);
}

fn packed(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    gz.finish().unwrap()
}

#[test]
fn files_may_be_compressed() {
    let folder = Folder::new();
    let text = "user,item,rank\na,y,2\na,x,1\n";
    let json = r#"[{"predict": ["\"x\"\n"], "output": ["x"]}]"#;
    let recbole = "user_id:token\titem_id:token\n7\t3\n";
    for (name, text, format, first) in [
        ("a.csv.gz", text, Format::Csv, "x"),
        ("b.json.gz", json, Format::MiniOneRec, "x"),
        ("c.run.gz", "u Q0 z 1 2.5 t\n", Format::Trec, "z"),
        // Told by the first bytes, whatever the name.
        ("d.inter", recbole, Format::RecBole, "3"),
    ] {
        let path = folder.0.path().join(name);
        std::fs::write(&path, packed(text)).unwrap();
        assert_eq!(Format::of(&path).unwrap(), format, "{name}");
        let mut items = Names::new();
        let lists = read_lists(&path, format, &mut items).unwrap();
        assert_eq!(named(&items, &lists.lists)[0][0], first, "{name}");
    }
    // A faulty line of a compressed file has its number; a file that ends early is an error.
    let path = folder.0.path().join("e.csv.gz");
    let long: String = (0..5000).map(|i| format!("u{i},i{}\n", i * 7)).collect();
    std::fs::write(&path, packed(&format!("user,item\n{long}u,\"\n"))).unwrap();
    let read = || read_lists(&path, Format::Csv, &mut Names::new()).unwrap_err().to_string();
    assert!(read().contains("e.csv.gz:5002"), "{}", read());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(read().contains("cannot read"), "{}", read());
    let path = folder.0.path().join("f.json.gz");
    let bytes = packed(json);
    std::fs::write(&path, &bytes[..bytes.len() - 12]).unwrap();
    let err = read_lists(&path, Format::MiniOneRec, &mut Names::new()).unwrap_err().to_string();
    assert!(err.contains("cannot read"), "{err}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lists_come_back(lists in proptest::collection::vec(
        proptest::collection::vec(0u32..30, 1..12), 1..8)) {
        let folder = Folder::new();
        let (mut run, mut csv) = (String::new(), "user,item,rank\n".to_string());
        // Rows of users interleaved: one place of every list after the other.
        for place in 0..12 {
            for (u, list) in lists.iter().enumerate() {
                if let Some(item) = list.get(place) {
                    run += &format!("u{u} Q0 i{item} {place} {} tag\n", 100 - place);
                    csv += &format!("u{u},i{item},{place}\n");
                }
            }
        }
        let expected: Vec<Vec<String>> =
            lists.iter().map(|l| l.iter().map(|i| format!("i{i}")).collect()).collect();
        for (path, format) in [
            (folder.file("a.run", &run), Format::Trec),
            (folder.file("a.csv", &csv), Format::Csv),
        ] {
            let mut items = Names::new();
            let read = read_lists(&path, format, &mut items).unwrap();
            prop_assert_eq!(&named(&items, &read.lists), &expected);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-c0-9,\"\t \n:{}\\[\\]]{0,60}") {
        let folder = Folder::new();
        for name in ["a.run", "a.csv", "a.json"] {
            let path = folder.file(name, &text);
            for format in [Format::of(&path).unwrap(), Format::RecBole] {
                let _ = read_lists(&path, format, &mut Names::new());
                let _ = read_truth(&path, format, &mut Names::new());
            }
        }
    }
}
