//! Bad inputs: one clear error each, that names the file, the line or the key.

mod common;

use common::{fails, folder, gzip, load};
use serde_json::json;
use std::path::Path;

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn missing_and_empty_files() {
    has(&fails("csv", Path::new("/nowhere/x.csv"), &[]), &["cannot read", "/nowhere/x.csv"]);
    has(&fails("folder", Path::new(""), &[]), &["data.path", "missing"]);
    let dir = folder(&[
        ("empty.csv", b""),
        ("header.csv", b"user,item\n"),
        ("empty.csv.gz", b""),
        ("empty.json", b""),
        ("blank.json", b"\n\n"),
        ("empty.inter", b""),
    ]);
    let at = |name: &str| dir.path().join(name);
    has(&fails("csv", &at("empty.csv"), &[]), &["empty.csv", "empty"]);
    has(&fails("csv", &at("empty.csv.gz"), &[]), &["empty.csv.gz", "header"]);
    has(&fails("csv", &at("header.csv"), &[]), &["header.csv", "no rows"]);
    has(&fails("amazon-reviews", &at("empty.json"), &[]), &["empty.json", "empty"]);
    has(&fails("amazon-reviews", &at("blank.json"), &[]), &["blank.json", "no reviews"]);
    has(&fails("recbole", &at("empty.inter"), &[]), &["empty.inter", "empty"]);
    has(&fails("folder", dir.path(), &[]), &["no interactions.tsv.gz"]);
    has(&fails("movielens", dir.path(), &[]), &["expected ratings.dat"]);
    has(&fails("amazon-reviews", dir.path(), &[]), &["several files", "blank.json, empty.json"]);
    has(&fails("folder", &at("header.csv"), &[]), &["header.csv", "expected a folder"]);
}

#[test]
fn truncated_gzip() {
    let text: String = (0..30_000).map(|i| format!("u{},i{}\n", i % 97, i * 31 % 1009)).collect();
    let whole = gzip(format!("user,item\n{text}").as_bytes());
    let dir = folder(&[("x.csv", &whole[..whole.len() - 100])]);
    let path = dir.path().join("x.csv");
    has(&fails("csv", &path, &[]), &["x.csv:", "truncated"]);
    // Skipping bad lines does not hide a broken file.
    has(&fails("csv", &path, &[("bad_lines", json!("skip"))]), &["x.csv:", "truncated"]);
}

#[test]
fn wrong_types_and_widths_name_the_line() {
    let dir = folder(&[
        ("time.csv", b"user,item,timestamp\n1,2,3\n1,3,noon\n"),
        ("rating.csv", b"user,item,rating\n1,2,good\n"),
        ("width.csv", b"user,item,rating\n1,2,3\n\n1,2\n"),
        ("id.csv", b"user,item\n1,2\n1,\n"),
        ("utf8.csv", b"user,item\n1,2\n1,\xff\xfe\n"),
        ("part.csv", b"user,item,part\n1,2,exam\n"),
        ("quote.csv", b"user,item\n1,\"2\n1,3\n"),
    ]);
    let at = |name: &str| dir.path().join(name);
    has(&fails("csv", &at("time.csv"), &[]), &["time.csv:3", "time", "`noon`", "skip"]);
    has(&fails("csv", &at("rating.csv"), &[]), &["rating.csv:2", "rating", "`good`"]);
    has(&fails("csv", &at("width.csv"), &[]), &["width.csv:4", "expected 3 fields, got 2"]);
    has(&fails("csv", &at("id.csv"), &[]), &["id.csv:3", "item is empty"]);
    has(&fails("csv", &at("utf8.csv"), &[]), &["utf8.csv:3", "UTF-8"]);
    has(&fails("csv", &at("part.csv"), &[("split", json!("part"))]), &["part.csv:2", "`exam`"]);
    has(&fails("csv", &at("quote.csv"), &[]), &["quote.csv:2", "quote"]);
}

#[test]
fn columns_that_are_not_there() {
    let dir = folder(&[("x.csv", b"who,item\n1,2\n"), ("y.inter", b"user_id,item_id\n1,2\n")]);
    let path = dir.path().join("x.csv");
    has(&fails("csv", &path, &[]), &["x.csv:1", "data.user", "who, item"]);
    let named = [("user", json!("wer"))];
    has(&fails("csv", &path, &named), &["data.user", "no column `wer`", "who, item"]);
    let rated = [("user", json!("who")), ("min_rating", json!(3))];
    has(&fails("csv", &path, &rated), &["data.min_rating", "no rating"]);
    has(&fails("recbole", &dir.path().join("y.inter"), &[]), &["y.inter:1", "name:type"]);
    let dir = folder(&[("z.inter", b"user_id:token\titem_id:token_seq\n1\t2 3\n")]);
    has(&fails("recbole", dir.path(), &[]), &["z.inter:1", "token_seq", "expected token"]);
}

#[test]
fn bad_lines_are_counted_or_fatal() {
    let dir = folder(&[(
        "reviews.json",
        b"{\"reviewerID\": \"A\", \"asin\": \"B\", \"unixReviewTime\": 1}\nnonsense\n{\"reviewerID\": \"A\", \"asin\": \"C\"}\n{\"reviewerID\": \"A\", \"asin\": \"D\", \"unixReviewTime\": \"x\"}\n{\"reviewerID\": \"A\", \"asin\": \"E\", \"unixReviewTime\": 2}\n",
    )]);
    let path = dir.path().join("reviews.json");
    has(&fails("amazon-reviews", &path, &[]), &["reviews.json:2", "JSON"]);
    let skip = ("bad_lines", json!("skip"));
    let data = load("amazon-reviews", &path, std::slice::from_ref(&skip)).unwrap();
    let r = &data.report;
    assert_eq!((r.rows, r.bad_lines, r.interactions), (5, 3, 2));
    has(&r.first_bad_lines[1], &["reviews.json:3", "no unixReviewTime"]);
    has(&r.first_bad_lines[2], &["reviews.json:4", "`x`"]);
    let bound = [skip.clone(), ("max_bad_lines", json!(2))];
    let err = fails("amazon-reviews", &path, &bound);
    has(&err, &["reviews.json:4", "max_bad_lines = 2", "reviews.json:2"]);
    let wrong = fails("amazon-reviews", &path, &[("bad_lines", json!("ignore"))]);
    has(&wrong, &["data.bad_lines", "ignore", "skip"]);
    let all_bad = folder(&[("r.json", b"x\ny\n")]);
    has(&fails("amazon-reviews", all_bad.path(), &[skip]), &["r.json", "all 2 lines are bad"]);
}

#[test]
fn metadata_that_is_neither_json_nor_python() {
    let dir = folder(&[
        ("r.json", b"{\"reviewerID\": \"A\", \"asin\": \"B\", \"unixReviewTime\": 1}\n"),
        ("meta.json", b"{'asin': 'B', 'title': 'ok'}\n{'asin': 'C', 'title': }\n"),
    ]);
    let err = fails("amazon-reviews", dir.path(), &[]);
    has(&err, &["meta.json:2", "Python", "column 24"]);
    let data = load("amazon-reviews", dir.path(), &[("bad_lines", json!("skip"))]).unwrap();
    assert_eq!(data.report.bad_lines, 1);
    assert_eq!(data.items.column("title").unwrap().get(0), "ok");
}

#[test]
fn folders_with_wrong_numbers() {
    let rows: &[u8] = b"user\titem\n0\t0\n0\t1\n";
    let case = |items: &[u8], rows: &[u8]| {
        let dir = folder(&[("interactions.tsv", rows), ("items.jsonl", items)]);
        fails("folder", dir.path(), &[])
    };
    let good = b"{\"item\":0}\n{\"item\":1}\n";
    has(&case(b"{\"item\":0}\n{\"item\":0}\n", rows), &["items.jsonl:2", "item 0", "second time"]);
    has(&case(b"{\"item\":0}\n{\"item\":2}\n", rows), &["items.jsonl:2", "expected item 1, got 2"]);
    has(&case(b"{\"item\":0}\nx\n", rows), &["items.jsonl:2", "JSON"]);
    has(&case(b"{\"item\":\"0\"}\n", rows), &["items.jsonl:1", "whole number"]);
    has(&case(b"\n", rows), &["items.jsonl", "no item in it"]);
    has(&case(good, b"user\titem\n0\t2\n"), &["interactions.tsv:2", "item 2", "0 to 1"]);
    has(&case(good, b"user\titem\n-1\t0\n"), &["interactions.tsv:2", "user", "`-1`"]);
    has(&case(good, b"user\tthing\n0\t0\n"), &["interactions.tsv:1", "item", "user, thing"]);
    has(&case(good, b"user\titem\n4000000000\t0\n"), &["not dense", "4000000000"]);
    has(&case(good, b"user\titem\tsplit\n0\t0\tdev\n"), &["interactions.tsv:2", "`dev`"]);
    has(&case(b"{\"item\":0, \"title\": \"\xff\"}\n", rows), &["items.jsonl:1"]);
}

#[test]
fn filters_that_leave_nothing() {
    let dir = folder(&[("x.csv", b"user,item,rating\n1,2,3\n1,3,1\n")]);
    let path = dir.path().join("x.csv");
    let err = fails("csv", &path, &[("min_user", json!(5)), ("min_item", json!(5))]);
    has(&err, &["x.csv", "min_user = 5", "min_item = 5"]);
    has(&fails("csv", &path, &[("min_rating", json!(4))]), &["x.csv", "min_rating", "all 2"]);
    has(&fails("csv", &path, &[("min_user", json!(-1))]), &["data.min_user", "u32"]);
    has(&fails("csv", &path, &[("min_usr", json!(1))]), &["data.min_usr", "min_user"]);
    has(&fails("csv", &path, &[("separator", json!(""))]), &["data.separator"]);
}

#[test]
fn parquet_that_is_none() {
    let dir = folder(&[("x.parquet", b"PAR1 but not really")]);
    let err = fails("parquet", &dir.path().join("x.parquet"), &[]);
    if cfg!(feature = "parquet") {
        has(&err, &["x.parquet", "Parquet"]);
    } else {
        has(&err, &["--features parquet"]);
    }
}
