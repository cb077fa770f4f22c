//! The interface description against routes, types and answers.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Service, after};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sidereal_serve::admin::{ADMIN_ROUTES, SWAP_FIELDS};
use sidereal_serve::answer::{
    Answer, AnswerItem, CatalogueItem, Found, Health, Step, Swapped, Timing, UserHistory, Version,
};
use sidereal_serve::fault::{FaultBody, FaultDetail};
use sidereal_serve::request::{AskBody, FIELDS};
use sidereal_serve::routes::{OPENAPI, ROUTES};
use sidereal_serve::{ServeOptions, routes};
use std::collections::BTreeSet;

fn description() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

fn follow<'a>(all: &'a Value, at: &'a Value) -> &'a Value {
    match at["$ref"].as_str() {
        Some(to) => all.pointer(to.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{to}")),
        None => at,
    }
}

/// Whether a value is what a schema says, as far as our schemas go.
fn check(all: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = follow(all, schema);
    let fits = match schema["type"].as_str().unwrap_or_else(|| panic!("{place}: no type")) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64(),
        other => panic!("{place}: type {other}"),
    };
    assert!(fits, "{place}: {value} is no {}", schema["type"]);
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{place}: {value}");
    }
    for key in schema["required"].as_array().unwrap_or(&Vec::new()) {
        assert!(value.get(key.as_str().unwrap()).is_some(), "{place}: no {key}");
    }
    for (key, inner) in value.as_object().unwrap_or(&serde_json::Map::new()) {
        match schema["properties"].get(key) {
            Some(schema) => check(all, schema, inner, &format!("{place}.{key}")),
            None => assert_ne!(schema["additionalProperties"], false, "{place}.{key}"),
        }
    }
    for inner in value.as_array().unwrap_or(&Vec::new()) {
        check(all, &schema["items"], inner, &format!("{place}[]"));
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().map_or_else(BTreeSet::new, |o| o.keys().cloned().collect())
}

/// A type's fullest and emptiest values have the properties and the required ones of its schema.
fn same<T: Serialize + DeserializeOwned>(name: &str, fullest: &T, emptiest: &Value) {
    let all = description();
    let schema = &all["components"]["schemas"][name];
    let fullest = serde_json::to_value(fullest).unwrap();
    assert_eq!(keys(&schema["properties"]), keys(&fullest), "{name}");
    check(&all, schema, &fullest, name);
    let required: BTreeSet<String> =
        serde_json::from_value(schema["required"].clone()).unwrap_or_default();
    assert_eq!(required, keys(emptiest), "{name}");
    // The type takes what has the required properties, and not without any of them.
    serde_json::from_value::<T>(emptiest.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    for key in &required {
        let mut less = emptiest.clone();
        less.as_object_mut().unwrap().remove(key);
        assert!(serde_json::from_value::<T>(less).is_err(), "{name} without {key}");
    }
}

fn without(value: &impl Serialize, optional: &[&str]) -> Value {
    let mut value = serde_json::to_value(value).unwrap();
    optional.iter().for_each(|key| drop(value.as_object_mut().unwrap().remove(*key)));
    value
}

#[test]
fn schemas_are_the_types() {
    let version = Version { generation: 1, run: "r".into(), table: Some("t".into()) };
    let timing = Timing { queue_ms: 0.5, model_ms: 1.5, batch: 2 };
    let step = Step {
        level: 0,
        token: "<a_1>".into(),
        items: 3,
        log_prob: -1.5,
        log_prob_allowed: -0.5,
        rank: Some(1),
        allowed: 8,
        sum: -1.5,
    };
    let item = AnswerItem {
        id: "i".into(),
        title: "t".into(),
        score: -1.5,
        sid: Some("<a_1>".into()),
        path: Some(vec![step.clone()]),
    };
    let answer = Answer {
        user: Some("u".into()),
        history_length: 3,
        items: vec![item.clone()],
        invalid: 0,
        version: version.clone(),
        timing,
    };
    let shown = CatalogueItem { id: "i".into(), title: "t".into(), sid: Some("s".into()) };
    let found = Found { items: vec![shown.clone()], total: 1, version: version.clone() };
    let user = UserHistory {
        user: "u".into(),
        history_length: 1,
        history: vec![shown.clone()],
        version: version.clone(),
    };
    let health = Health { status: "ok".into(), version: version.clone() };
    let swapped = Swapped { version: version.clone(), previous: version.clone() };
    let detail = FaultDetail {
        code: "c".into(),
        message: "m".into(),
        field: Some("f".into()),
        allowed: Some("a".into()),
    };
    let fault = FaultBody { error: detail.clone() };
    same("Version", &version, &without(&version, &["table"]));
    same("Timing", &timing, &without(&timing, &[]));
    same("Step", &step, &without(&step, &["rank"]));
    same("AnswerItem", &item, &without(&item, &["sid", "path"]));
    same("Answer", &answer, &without(&answer, &["user"]));
    same("CatalogueItem", &shown, &without(&shown, &["sid"]));
    same("Found", &found, &without(&found, &[]));
    same("UserHistory", &user, &without(&user, &[]));
    same("Health", &health, &without(&health, &[]));
    same("Swapped", &swapped, &without(&swapped, &[]));
    same("FaultDetail", &detail, &without(&detail, &["field", "allowed"]));
    same("Fault", &fault, &without(&fault, &[]));
    // No schema without a type above, and none that nothing refers to.
    let all = description();
    let names = keys(&all["components"]["schemas"]);
    assert_eq!(names.len(), 12 + 2, "{names:?}");
    for name in &names {
        assert!(OPENAPI.contains(&format!("\"#/components/schemas/{name}\"")), "{name}");
    }
}

#[test]
fn fields_of_requests_are_those_that_are_read() {
    let all = description();
    let schemas = &all["components"]["schemas"];
    let set = |fields: &[&str]| fields.iter().map(|f| f.to_string()).collect::<BTreeSet<_>>();
    assert_eq!(keys(&schemas["Ask"]["properties"]), set(&FIELDS));
    assert_eq!(keys(&schemas["Swap"]["properties"]), set(&SWAP_FIELDS));
    let body = AskBody {
        user: Some("u".into()),
        history: Some(vec!["i".into()]),
        k: Some(1),
        exclude: Some(vec!["e".into()]),
        filter: Some("brand = 1".into()),
        explain: Some(true),
    };
    let body = serde_json::to_value(&body).unwrap();
    assert_eq!(keys(&body), set(&FIELDS));
    check(&all, &schemas["Ask"], &body, "Ask");
}

#[test]
fn every_route_is_described_and_answers_as_described() {
    let all = description();
    let described: BTreeSet<String> = keys(&all["paths"]);
    let routes: BTreeSet<String> =
        ROUTES.iter().chain(&ADMIN_ROUTES).map(|r| r.to_string()).collect();
    assert_eq!(described, routes);

    let s = Service::start(ServeOptions { max_body: 200, ..Default::default() });
    let (mut c, mut admin) = (s.client(), s.admin());
    let mut seen = BTreeSet::new();
    let mut judge = |method: &str, path: &str, body: &Value, want: u16| {
        let route = match path.split('?').next().unwrap() {
            p if p.starts_with("/v1/users/") => "/v1/users/{id}".to_string(),
            p => p.to_string(),
        };
        let bytes = if method == "POST" { body.to_string().into_bytes() } else { Vec::new() };
        let client = if route.starts_with("/admin") { &mut admin } else { &mut c };
        let reply = client.call(method, path, &bytes).unwrap();
        assert_eq!(reply.status, want, "{path}: {}", String::from_utf8_lossy(&reply.body));
        let place = format!("{method} {path} {want}");
        let operation = &all["paths"][&route][method.to_lowercase()];
        let response = operation["responses"].get(want.to_string());
        let response = follow(&all, response.unwrap_or_else(|| panic!("{place} not described")));
        let kind = reply.header("content-type").unwrap().split(';').next().unwrap().to_string();
        let content = response["content"].get(&kind).unwrap_or_else(|| panic!("{place}: {kind}"));
        if let Some(schema) = content.get("schema") {
            check(&all, schema, &reply.json(), &place);
        }
        for header in keys(&response["headers"]) {
            assert!(reply.header(&header.to_lowercase()).is_some(), "{place}: {header}");
        }
        seen.insert(route);
    };
    let none = Value::Null;
    judge("GET", "/", &none, 200);
    judge("GET", "/health", &none, 200);
    judge("GET", "/ready", &none, 200);
    judge("GET", "/metrics", &none, 200);
    judge("GET", "/openapi.json", &none, 200);
    judge("GET", "/v1/items?query=thing", &none, 200);
    judge("GET", "/v1/items?query=", &none, 422);
    judge("GET", "/v1/users/u1?limit=1", &none, 200);
    judge("GET", "/v1/users/nobody", &none, 404);
    judge("GET", "/v1/users/u1?limit=0", &none, 422);
    judge("POST", "/v1/recommend", &after(1, 3), 200);
    judge("POST", "/v1/recommend", &json!({"user": "u1", "explain": true}), 200);
    judge("POST", "/v1/recommend", &none, 400);
    judge("POST", "/v1/recommend", &json!({"user": "nobody"}), 404);
    judge("POST", "/v1/recommend", &json!({"user": "u".repeat(300)}), 413);
    judge("POST", "/v1/recommend", &json!({"k": 3}), 422);
    judge("POST", "/v1/recommend", &after(38, 3), 500);
    judge("POST", "/admin/swap", &json!({}), 200);
    judge("POST", "/admin/swap", &none, 400);
    judge("POST", "/admin/swap", &json!({"run": "broken"}), 422);
    assert_eq!(seen, routes);
    assert_eq!(routes::OPENAPI.as_bytes(), c.get("/openapi.json").unwrap().body);
    s.stop();
}
