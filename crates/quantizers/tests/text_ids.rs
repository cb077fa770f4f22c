//! IDs of texts.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use sidereal_core::{ItemId, ItemTable, StringColumn};
use sidereal_quantizers::{SharedText, Text, TextForm, TextIds, TextOptions, TextSource};

fn items(column: &str, values: &[&str]) -> ItemTable {
    let ids = (0..values.len()).map(|i| format!("B{i}")).collect::<StringColumn>();
    ItemTable::new(ids).with_column(column, values.iter().collect()).unwrap()
}

fn read(options: TextOptions, items: &ItemTable) -> TextIds {
    Text::new(options).unwrap().read(items).unwrap()
}

fn texts(ids: &TextIds) -> Vec<String> {
    let sid = |i: u32| ids.table.first_sid(ItemId(i)).unwrap();
    (0..ids.table.n_items() as u32).map(|i| ids.text(sid(i))).collect()
}

const TITLES: [&str; 6] =
    ["Red Soap", "Red soap for hands", "blue bag", "RED  SOAP!", "", "Blue Bag, large"];

#[test]
fn titles_with_an_end_and_a_number() {
    let ids = read(TextOptions::default(), &items("title", &TITLES));
    assert_eq!(
        texts(&ids),
        [
            "red soap <end>",
            "red soap for hands <end>",
            "blue bag <end>",
            "red soap #1 <end>",
            "b4 <end>",
            "blue bag large <end>",
        ]
    );
    // The most frequent words have the lowest codes, by the alphabet: red and soap stand three times.
    assert_eq!(ids.table.first_sid(ItemId(0)).unwrap()[..2], [0, 1]);
    let tolerate = TextOptions { shared: SharedText::Tolerate, ..Default::default() };
    let ids = read(tolerate, &items("title", &TITLES));
    let first = ids.table.first_sid(ItemId(0)).unwrap();
    assert_eq!(ids.table.items_of(first).collect::<Vec<_>>(), [ItemId(0), ItemId(3)]);
    // Without a column the source ids are read.
    let bare = ItemTable::new(["x-1", "x-2"].iter().collect());
    assert_eq!(texts(&read(TextOptions::default(), &bare)), ["x 1 <end>", "x 2 <end>"]);
}

#[test]
fn cut_texts_and_shortest_prefixes() {
    let cut = TextOptions { max_tokens: 2, ..Default::default() };
    let ids = read(cut, &items("title", &TITLES));
    assert_eq!(texts(&ids)[1], "red soap #1 <end>");
    assert_eq!(texts(&ids)[3], "red soap #2 <end>");
    let short = TextOptions { form: TextForm::ShortestPrefix, ..Default::default() };
    let ids = read(short, &items("title", &["a b c d", "a b e f", "g h i", "a b", "a b"]));
    assert_eq!(texts(&ids), ["a b c <end>", "a b e <end>", "g <end>", "a b <end>", "a b #1 <end>"]);
}

#[test]
fn addresses() {
    let urls = ["https://shop.com/bath-care/soap", "http://shop.com/item/12", ""];
    let items =
        items("url", &urls).with_column("title", ["Soap", "Red bag", "Cap"].iter().collect());
    let options =
        TextOptions { column: "url".into(), source: TextSource::Url, ..Default::default() };
    let ids = read(options, &items.unwrap());
    assert_eq!(
        texts(&ids),
        ["soap bath care shop com <end>", "red bag shop com <end>", "cap <end>"]
    );
}

/// A word-level tokenizer, as its file has it.
const TOKENIZER: &str = r#"{
  "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
  "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
  "post_processor": null, "decoder": null,
  "model": {"type": "WordLevel", "vocab": {"[unk]": 0, "red": 7, "soap": 3, "bag": 5},
            "unk_token": "[unk]"}
}"#;

#[test]
fn codes_of_a_tokenizer_are_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, TOKENIZER).unwrap();
    let tokenizer = path.to_str().unwrap().to_string();
    let options = TextOptions { tokenizer, ..Default::default() };
    let ids = read(options.clone(), &items("title", &["Red soap", "Bag", "red soap", "cap"]));
    let sid = |i| ids.table.first_sid(ItemId(i)).unwrap();
    // Eight codes of the tokenizer, then the end, then the numbers.
    assert_eq!([sid(0), sid(1), sid(2), sid(3)], [&[7, 3, 8][..], &[5, 8], &[7, 3, 9, 8], &[0, 8]]);
    assert_eq!(texts(&ids)[2], "red soap #1 <end>");

    std::fs::write(&path, "{}").unwrap();
    let fail = |options| {
        let text = Text::new(options).unwrap();
        text.read(&items("title", &["a"])).unwrap_err().to_string()
    };
    assert!(fail(options.clone()).contains("tokenizer.json"));
    let missing = TextOptions { tokenizer: "no/such.json".into(), ..Default::default() };
    assert!(fail(missing).contains("no/such.json"));
    let column = TextOptions { column: "keyword".into(), ..Default::default() };
    let message = fail(column);
    assert!(message.contains("identifier.column") && message.contains("title"), "{message}");
    let none = TextOptions { max_tokens: 0, ..Default::default() };
    assert!(Text::new(none).unwrap_err().to_string().contains("identifier.max_tokens"));
}

#[test]
fn an_empty_catalogue() {
    let ids = read(TextOptions::default(), &items("title", &[]));
    assert_eq!((ids.table.n_items(), ids.tokens.len()), (0, 1));
}
