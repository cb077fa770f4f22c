//! What the parser takes and what it refuses.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { body: 200, history: 3, exclude: 2, k: 20, text: 8 };

fn refused(body: &str) -> Fault {
    parse(body.as_bytes(), &LIMITS).unwrap_err()
}

#[test]
fn a_request_in_full_and_one_by_default() {
    let body = r#"{"history": ["a", "b"], "k": 5, "exclude": ["c"], "explain": true}"#;
    let ask = parse(body.as_bytes(), &LIMITS).unwrap();
    assert_eq!(ask.who, Who::History(vec!["a".into(), "b".into()]));
    assert_eq!((ask.k, ask.exclude.len(), ask.explain), (5, 1, Explain::Path));
    let ask = parse(br#"{"user": "u"}"#, &LIMITS).unwrap();
    assert_eq!((ask.k, ask.explain), (10, Explain::No));
    assert_eq!(parse(br#"{"user": "u"}"#, &Limits { k: 4, ..LIMITS }).unwrap().k, 4);
}

#[test]
fn every_refusal_names_field_and_range() {
    for (body, status, code, field, says) in [
        ("", 400, "no_json", None, "no JSON"),
        ("[1]", 400, "no_object", None, "a list"),
        ("{\"user\": \"\\ud800\"}", 400, "no_json", None, "no JSON"),
        ("{}", 422, "missing", Some("history"), "`user` or `history`"),
        (r#"{"user":"a","history":["b"]}"#, 422, "conflict", Some("history"), "one of the two"),
        (r#"{"histroy":["b"]}"#, 422, "unknown_field", Some("histroy"), "did you mean `history`"),
        (r#"{"history":[]}"#, 422, "out_of_range", Some("history"), "1 to 3"),
        (r#"{"history":["a","b","c","d"]}"#, 422, "out_of_range", Some("history"), "got 4"),
        (r#"{"history":["a",7]}"#, 422, "wrong_type", Some("history[1]"), "a number"),
        (r#"{"history":"a"}"#, 422, "wrong_type", Some("history"), "a list of 1 to 3"),
        (r#"{"user":"123456789"}"#, 422, "out_of_range", Some("user"), "1 to 8 bytes"),
        (r#"{"user":""}"#, 422, "out_of_range", Some("user"), "1 to 8 bytes"),
        (r#"{"user":null}"#, 422, "wrong_type", Some("user"), "null"),
        (r#"{"user":"a","k":0}"#, 422, "out_of_range", Some("k"), "1 to 20"),
        (r#"{"user":"a","k":21}"#, 422, "out_of_range", Some("k"), "1 to 20"),
        (r#"{"user":"a","k":-1}"#, 422, "out_of_range", Some("k"), "1 to 20"),
        (r#"{"user":"a","k":1.5}"#, 422, "out_of_range", Some("k"), "1.5"),
        (r#"{"user":"a","k":1e400}"#, 400, "no_json", None, "no JSON"),
        (r#"{"user":"a","k":"9"}"#, 422, "wrong_type", Some("k"), "a string"),
        (r#"{"user":"a","exclude":["1","2","3"]}"#, 422, "out_of_range", Some("exclude"), "0 to 2"),
        (r#"{"user":"a","filter":""}"#, 422, "out_of_range", Some("filter"), "1 to 8 bytes"),
        (r#"{"user":"a","explain":1}"#, 422, "wrong_type", Some("explain"), "true or false"),
    ] {
        let fault = refused(body);
        assert_eq!((fault.status, fault.detail.code.as_str()), (status, code), "{body}");
        assert_eq!(fault.detail.field.as_deref(), field, "{body}");
        assert!(fault.detail.message.contains(says), "{body}: {}", fault.detail.message);
    }
}

#[test]
fn hostile_bodies_are_refused_in_little_memory() {
    let long = format!("{{\"user\": \"{}\"}}", "x".repeat(300));
    assert_eq!(refused(&long).status, 413);
    let wide = Limits { body: 1 << 20, ..LIMITS };
    // Nesting that would exhaust the stack of a recursive reader.
    let deep = "[".repeat(100_000);
    assert_eq!(parse(deep.as_bytes(), &wide).unwrap_err().status, 400);
    let key = format!("{{\"{}\": 1}}", "k".repeat(100_000));
    assert!(parse(key.as_bytes(), &wide).unwrap_err().body().len() < 400);
    assert_eq!(parse(b"{\"user\": \"\xff\"}", &wide).unwrap_err().status, 400);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(body in proptest::collection::vec(any::<u8>(), 0..220)) {
        if let Err(fault) = parse(&body, &LIMITS) {
            prop_assert!([400, 413, 422].contains(&fault.status));
        }
    }

    #[test]
    fn what_clients_write_is_what_is_read(
        history in proptest::collection::vec("[a-z\"\\\\\u{e9}]{1,4}", 1..4),
        exclude in proptest::collection::vec("[a-z]{1,8}", 0..3),
        k in 1u32..21,
        explain in any::<bool>(),
    ) {
        let body = AskBody {
            history: Some(history.clone()),
            exclude: Some(exclude.clone()),
            k: Some(k),
            explain: Some(explain),
            ..Default::default()
        };
        let ask = parse(&serde_json::to_vec(&body).unwrap(), &LIMITS).unwrap();
        prop_assert_eq!(ask.who, Who::History(history));
        prop_assert_eq!((ask.exclude, ask.k), (exclude, k as usize));
        prop_assert_eq!(ask.explain == Explain::Path, explain);
    }
}
