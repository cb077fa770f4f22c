//! Every reader on small files of its format.

mod common;

use common::{folder, gzip, history, load, load_with, times, value};
use serde_json::json;
use sidereal_core::{Options, Run};
use sidereal_data::{Part, Source, inspect};

const REVIEWS_2014: &str = r#"{"reviewerID": "A1", "asin": "B1", "helpful": [0, 1], "reviewText": "so \"so\", {\"asin\": \"no\"}", "overall": 5.0, "unixReviewTime": 1200000000, "reviewTime": "01 10, 2008"}
{"reviewerID": "A2", "asin": "B1", "reviewText": "caf\u00e9", "overall": 2.0, "unixReviewTime": 1200000000}
{"reviewerID": "A1", "asin": "B2", "reviewText": "", "overall": 4.0, "unixReviewTime": 1100000000}
{"reviewerID": "A1", "asin": "B3", "overall": 1.0, "unixReviewTime": 1200000000}
"#;

const META_2014: &str = r#"{'asin': 'B2', 'title': "It's 2", 'price': 3.17, 'brand': 'Acme', 'categories': [['Beauty', 'Hair'], ['Gifts']]}
{'asin': 'B9', 'title': 'unwanted'}
{'asin': 'B1', 'title': 'Caf\xe9', 'description': "one", 'related': {'also_bought': ['B2']}}
{'asin': 'B1', 'title': 'again'}
"#;

#[test]
fn amazon_2014_with_python_metadata() {
    let dir = folder(&[
        ("reviews_Beauty.json.gz", REVIEWS_2014.as_bytes()),
        ("meta_Beauty.json.gz", META_2014.as_bytes()),
    ]);
    let data = load("amazon-reviews", dir.path(), &[]).unwrap();
    assert_eq!(history(&data, "A1"), ["B2", "B1", "B3"]);
    assert_eq!(times(&data, "A1"), [1_100_000_000, 1_200_000_000, 1_200_000_000]);
    assert_eq!(data.items.ids().iter().collect::<Vec<_>>(), ["B1", "B2", "B3"]);
    assert_eq!(value(&data, "title", "B1"), "Café");
    assert_eq!(value(&data, "title", "B2"), "It's 2");
    assert_eq!(value(&data, "categories", "B2"), "Beauty > Hair | Gifts");
    assert_eq!(value(&data, "brand", "B1"), "");
    let r = &data.report;
    assert_eq!((r.rows, r.users, r.items, r.interactions, r.items_without_text), (4, 2, 3, 4, 1));
    assert!(r.notes[0].contains("1 items"), "{:?}", r.notes);

    let liked = load("amazon-reviews", dir.path(), &[("min_rating", json!(4.0))]).unwrap();
    assert_eq!(liked.report.dropped_by_rating, 2);
    assert_eq!(history(&liked, "A1"), ["B2", "B1"]);
    assert_eq!(liked.interactions.len(), 1);
}

#[test]
fn amazon_2018_and_2023() {
    let dir = folder(&[(
        "Luxury.json",
        br#"{"overall": 2.0, "verified": true, "reviewerID": "U\u0041", "asin": "B1", "style": {"Size:": " 13"}, "unixReviewTime": 1530000000}
{"overall": 3.0, "reviewerID": "UA", "asin": "B2", "unixReviewTime": 1529000000}
"#,
    ), (
        "meta_Luxury.json",
        br#"{"category": ["Luxury", "Hair"], "description": ["One.", "Two."], "title": "T1", "brand": "X", "asin": "B1", "price": "$5"}
{"category": [], "title": "T2", "asin": "B2"}
"#,
    )]);
    let data = load("amazon-reviews", dir.path(), &[]).unwrap();
    assert_eq!(history(&data, "UA"), ["B2", "B1"]);
    assert_eq!(value(&data, "description", "B1"), "One. Two.");
    assert_eq!(value(&data, "categories", "B1"), "Luxury > Hair");
    assert!(data.items.column("price").is_none());

    // Milliseconds order what seconds cannot.
    let dir = folder(&[(
        "All_Beauty.jsonl",
        br#"{"rating": 5.0, "title": "a", "text": "b", "images": [], "asin": "V1", "parent_asin": "P1", "user_id": "AE", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": true}
{"rating": 4.0, "asin": "V2", "parent_asin": "P2", "user_id": "AE", "timestamp": 1588687728001}
"#,
    ), (
        "meta_All_Beauty.jsonl",
        br#"{"main_category": "All Beauty", "title": "First", "features": ["soft", "red"], "store": "Shop", "categories": ["Beauty", "Nails"], "details": {"a": "b"}, "parent_asin": "P1"}
"#,
    )]);
    let data = load("amazon-reviews", dir.path(), &[]).unwrap();
    assert_eq!(history(&data, "AE"), ["P2", "P1"]);
    assert_eq!(times(&data, "AE"), [1_588_687_728, 1_588_687_728]);
    assert_eq!(value(&data, "brand", "P1"), "Shop");
    assert_eq!(value(&data, "features", "P1"), "soft red");
}

#[test]
fn threads_change_nothing() {
    let mut text = String::new();
    for i in 0..40_000u64 {
        let (u, v) = (i * 7919 % 997, i * 104_729 % 499);
        text += &format!(
            "{{\"reviewerID\": \"A{u}\", \"asin\": \"B{v}\", \"unixReviewTime\": {}}}\n",
            i % 50
        );
    }
    for bytes in [text.clone().into_bytes(), gzip(text.as_bytes())] {
        let dir = folder(&[("reviews.json", &bytes)]);
        let options = [("min_user", json!(5)), ("min_item", json!(5))];
        let one = load_with("amazon-reviews", dir.path(), &options, 1).unwrap();
        let two = load_with("amazon-reviews", dir.path(), &options, 2).unwrap();
        assert_eq!(one, two);
        assert_eq!(one.report.rows, 40_000);
    }
}

#[test]
fn movielens_layouts() {
    let dir = folder(&[
        ("ratings.dat", b"1::10::5::100\n1::20::3::50\n2::10::4::70\n"),
        (
            "movies.dat",
            b"10::Mis\xe9rables, Les (1995)::Drama|Musical\n20::B (1990)::Comedy\n30::C::War\n",
        ),
    ]);
    let data = load("movielens", dir.path(), &[]).unwrap();
    assert_eq!(history(&data, "1"), ["20", "10"]);
    assert_eq!(value(&data, "title", "10"), "Misérables, Les (1995)");
    assert_eq!(value(&data, "categories", "10"), "Drama | Musical");
    assert_eq!(data.items.len(), 2);
    let one = load("movielens", &dir.path().join("ratings.dat"), &[]).unwrap();
    assert_eq!(one.items, data.items);

    let dir = folder(&[
        ("ratings.csv", b"userId,movieId,rating,timestamp\r\n1,10,4.5,100\r\n1,20,3.0,50\r\n"),
        ("movies.csv", b"movieId,title,genres\r\n10,\"American President, The (1995)\",Comedy|Drama\r\n20,X,(no genres listed)\r\n"),
    ]);
    let data = load("movielens", dir.path(), &[]).unwrap();
    assert_eq!(history(&data, "1"), ["20", "10"]);
    assert_eq!(value(&data, "title", "10"), "American President, The (1995)");
    assert_eq!(value(&data, "categories", "20"), "");

    let flags = "0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0";
    let item = format!("242|Kolya (1996)|24-Jan-1997||http://x|{flags}\n");
    let dir = folder(&[
        ("u.data", b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n"),
        ("u.item", item.as_bytes()),
    ]);
    let data = load("movielens", dir.path(), &[]).unwrap();
    assert_eq!(value(&data, "categories", "242"), "Animation | Children's | Comedy");
    assert_eq!(times(&data, "196"), [881_250_949]);
    assert_eq!(inspect(dir.path()).unwrap().format, "movielens");
}

#[test]
fn recbole_atomic_files() {
    let dir = folder(&[
        (
            "ml.inter",
            b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t5\t881250949.0\n1\t8\t3\t881250940\n",
        ),
        ("ml.item", b"item_id:token\tmovie_title:token_seq\tclass:token_seq\n8\tEight Men\tDrama War\n7\tSeven\t\n"),
    ]);
    let data = load("recbole", dir.path(), &[]).unwrap();
    assert_eq!(history(&data, "1"), ["8", "7"]);
    assert_eq!(value(&data, "title", "8"), "Eight Men");
    assert_eq!(value(&data, "categories", "7"), "");
    let same = load("recbole", &dir.path().join("ml.inter"), &[]).unwrap();
    assert_eq!(same, load("recbole", dir.path(), &[]).unwrap());
}

#[test]
fn delimited_with_a_map() {
    let dir = folder(&[
        (
            "clicks.csv",
            b"when,who,what,stars,part\n3000,\"a,b\",\"x\ny\",5,train\n1000,\"a,b\",z,1,train\n2000,\"a,b\",\"q\"\"q\",3,test\n",
        ),
        ("items.jsonl", b"{\"id\": \"z\", \"name\": \"Zed\"}\n{\"id\": \"q\\\"q\", \"name\": \"Q\"}\n"),
        ("items.csv", b"id,name,brand\nz,\"Zed, the\",B\n"),
        ("bare.tsv.gz", b"u1\ti1\t5\nu1\ti2\t4\n"),
    ]);
    let map = [
        ("user", json!("who")),
        ("item", json!("what")),
        ("time", json!("when")),
        ("time_unit", json!("ms")),
        ("rating", json!("stars")),
        ("split", json!("part")),
        ("items", json!(dir.path().join("items.jsonl"))),
    ];
    let data = load("csv", &dir.path().join("clicks.csv"), &map).unwrap();
    assert_eq!(history(&data, "a,b"), ["z", "q\"q", "x\ny"]);
    assert_eq!(times(&data, "a,b"), [1, 2, 3]);
    assert_eq!(data.parts.as_deref(), Some(&[Part::Train, Part::Test, Part::Train][..]));
    assert_eq!(value(&data, "title", "z"), "Zed");
    let mut csv = map.to_vec();
    csv[6] = ("items", json!(dir.path().join("items.csv")));
    let data = load("csv", &dir.path().join("clicks.csv"), &csv).unwrap();
    assert_eq!(value(&data, "title", "z"), "Zed, the");
    assert_eq!(value(&data, "brand", "z"), "B");

    let bare = [("header", json!(false)), ("user", json!("0")), ("item", json!("1"))];
    let data = load("tsv", &dir.path().join("bare.tsv.gz"), &bare).unwrap();
    assert_eq!(history(&data, "u1"), ["i1", "i2"]);
    assert!(data.interactions.all_times().is_none());
}

#[test]
fn folder_keeps_numbers_until_it_is_filtered() {
    let dir = folder(&[
        (
            "interactions.tsv.gz",
            b"user\titem\ttimestamp\tsplit\n0\t3\t5\ttrain\n0\t1\t5\ttrain\n0\t3\t6\ttest\n2\t3\t1\ttrain\n",
        ),
        (
            "items.jsonl.gz",
            b"{\"item\":0,\"id\":\"a\"}\n{\"item\":1,\"id\":\"b\",\"title\":\"Bee\"}\n{\"item\":2}\n{\"item\":3,\"title\":\"Dee\",\"categories\":[[\"X\",\"Y\"]]}\n",
        ),
        ("users.tsv.gz", b"user\tid\tage\n0\tzero\t7\n1\tone\t8\n2\ttwo\t9\n"),
    ]);
    let data = load("folder", dir.path(), &[]).unwrap();
    assert_eq!(data.items.ids().iter().collect::<Vec<_>>(), ["a", "b", "2", "3"]);
    assert_eq!(history(&data, "zero"), ["3", "b", "3"]);
    assert_eq!(data.interactions.len(), 3);
    let r = &data.report;
    assert_eq!(
        (r.users_without_interactions, r.items_without_interactions, r.items_without_text),
        (1, 2, 2)
    );
    assert_eq!(data.parts.as_ref().unwrap()[2], Part::Test);

    let core = [("min_user", json!(1)), ("min_item", json!(2))];
    let data = load("folder", dir.path(), &core).unwrap();
    assert_eq!(data.user_ids.iter().collect::<Vec<_>>(), ["zero", "two"]);
    assert_eq!(data.items.ids().iter().collect::<Vec<_>>(), ["3"]);
    assert_eq!(value(&data, "title", "3"), "Dee");
    assert_eq!(data.parts.as_deref(), Some(&[Part::Train, Part::Test, Part::Train][..]));

    let first = load("folder", dir.path(), &[("duplicates", json!("first"))]).unwrap();
    assert_eq!(history(&first, "zero"), ["3", "b"]);
    let last = load("folder", dir.path(), &[("duplicates", json!("last"))]).unwrap();
    assert_eq!(history(&last, "zero"), ["b", "3"]);
}

#[test]
fn a_history_of_one_is_allowed_and_times_may_miss_in_a_folder() {
    let dir = folder(&[("interactions.tsv", b"user\titem\ttimestamp\n0\t0\t9\n0\t1\t\n1\t1\t3\n")]);
    let data = load("folder", dir.path(), &[]).unwrap();
    assert_eq!(history(&data, "1"), ["1"]);
    assert!(data.interactions.all_times().is_none());
    assert!(data.report.notes[0].contains("1 of 3 rows have no time"));
}

#[test]
fn inspection_of_a_csv() {
    let text = b"user;item;time\nu;a;0\nu;b;86400\nv;a;172800\nv;b;1\nv;c;2\n";
    let dir = folder(&[("x.csv", text)]);
    let i = inspect(&dir.path().join("x.csv")).unwrap();
    assert_eq!((i.users, i.items, i.interactions), (2, 3, 5));
    assert!((i.density - 5.0 / 6.0).abs() < 1e-12);
    let l = i.lengths;
    assert_eq!((l.min, l.median, l.mean, l.max), (2, 2.5, 2.5, 3));
    assert_eq!(i.time.as_ref().unwrap().last_day, "1970-01-03");
    let text = i.to_string();
    assert!(text.contains("csv") && text.contains("83.3333 %"), "{text}");
    let json = serde_json::to_value(&i).unwrap();
    assert_eq!(json["lengths"]["max"], 3);
}

#[test]
fn options_have_docs() {
    let docs = sidereal_data::sources::folder::FolderOptions::describe();
    assert!(docs.iter().all(|d| !d.doc.is_empty()));
    assert!(docs.iter().any(|d| d.name == "min_user" && d.default == 0));
    let docs = sidereal_data::sources::amazon::AmazonOptions::describe();
    assert!(docs.iter().any(|d| d.name == "bad_lines" && d.default == "fail"));
}

#[test]
fn cancelling_stops_a_load() {
    let dir = folder(&[("x.csv", b"user,item\n1,2\n")]);
    let mut catalog = sidereal_core::Catalog::<dyn Source>::new("data");
    sidereal_data::register(&mut catalog).unwrap();
    let path = dir.path().join("x.csv");
    let spec =
        sidereal_core::Spec::new("data", "csv").with("path", path.to_string_lossy().as_ref());
    let run = Run::quiet(0);
    run.cancel.cancel();
    let err = catalog.build(&spec, &()).unwrap().load(&run).unwrap_err();
    assert_eq!(err.category(), sidereal_core::error::Category::Cancelled);
}
