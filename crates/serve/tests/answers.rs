//! What the routes answer, over a recommender that does as it is told.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Service, after, ids};
use serde_json::{Value, json};
use sidereal_serve::ServeOptions;

#[test]
fn recommendations_for_histories_and_users() {
    let s = Service::start(ServeOptions::default());
    let mut c = s.client();
    let reply = c.post("/v1/recommend", &after(3, 4)).unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let answer = reply.json();
    assert_eq!(ids(&answer), ["i4", "i5", "i6", "i7"]);
    assert_eq!(answer["items"][0]["title"], "Thing 4");
    assert_eq!(answer["items"][0]["sid"], "<a_0><b_4>");
    assert_eq!(
        (&answer["history_length"], &answer["items"][3]["score"]),
        (&json!(1), &json!(-3.0))
    );
    assert_eq!(answer["version"]["run"], "first");
    assert!(answer["items"][0].get("path").is_none() && answer.get("user").is_none());
    // Seen items are removed, and what the request excludes.
    let body = json!({"user": "u5", "k": 3, "exclude": ["i8"]});
    let answer = c.post("/v1/recommend", &body).unwrap().json();
    assert_eq!(
        (ids(&answer), &answer["user"]),
        (vec!["i9".into(), "i10".into(), "i11".into()], &json!("u5"))
    );
    // The path of an ID: 8 items begin with code 0, one of them ends in 4.
    let body = json!({"history": ["i3"], "k": 1, "explain": true});
    let path = &c.post("/v1/recommend", &body).unwrap().json()["items"][0]["path"];
    assert_eq!((path[0]["token"].as_str(), path[0]["items"].as_u64()), (Some("<a_0>"), Some(8)));
    assert_eq!((path[1]["rank"].as_u64(), path[1]["log_prob"].as_f64()), (Some(1), Some(-2.0)));
    assert_eq!((path[1]["token"].as_str(), path[1]["items"].as_u64()), (Some("<b_4>"), Some(1)));
    // A filter on attributes, together with what is excluded; one that leaves nothing.
    let mut filtered = |filter: &str| {
        let body = json!({"history": ["i3"], "k": 3, "exclude": ["i21"], "filter": filter});
        let reply = c.post("/v1/recommend", &body).unwrap();
        (reply.status, reply.json())
    };
    for _ in 0..2 {
        assert_eq!(ids(&filtered("price > 19 and price < 24").1), ["i20", "i22", "i23"]);
    }
    assert!(ids(&filtered("price > 100").1).is_empty());
    let (status, refused) = filtered("prize > 3");
    let error = &refused["error"];
    assert_eq!(
        (status, &error["field"], &error["code"]),
        (422, &json!("filter"), &json!("bad_filter"))
    );
    assert!(error["message"].as_str().unwrap().contains("did you mean `price`"), "{error}");
    s.stop();
}

#[test]
fn items_users_health_and_metrics() {
    let s = Service::start(ServeOptions::default());
    let mut c = s.client();
    let found = c.get("/v1/items?query=thing+3&limit=3").unwrap().json();
    assert_eq!(ids(&found), ["i3", "i30", "i31"]);
    assert_eq!(found["total"], 13); // 3, 13, 23 and 30 to 39
    let user = c.get("/v1/users/u2?limit=2").unwrap().json();
    assert_eq!(user["history_length"], 3);
    assert_eq!(user["history"][1]["title"], "Thing 4");
    for path in ["/health", "/ready"] {
        let reply = c.get(path).unwrap();
        assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("ok")));
    }
    c.post("/v1/recommend", &after(1, 1)).unwrap();
    assert_eq!(s.metric("sidereal_batch_size_count"), 1.0);
    assert_eq!(s.metric("sidereal_requests_total{route=\"/v1/recommend\",status=\"200\"}"), 1.0);
    assert_eq!(s.metric("sidereal_request_seconds_count"), 1.0);
    let page = c.get("/").unwrap();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    s.stop();
}

#[test]
fn refusals_name_field_and_range() {
    let s = Service::start(ServeOptions { max_body: 300, max_k: 1000, ..Default::default() });
    let mut c = s.client();
    let mut get = |path: &str| {
        let reply = c.get(path).unwrap();
        (reply.status, reply.json()["error"].clone())
    };
    for (path, status, code, field) in [
        ("/v1/users/nobody", 404, "unknown_user", "user"),
        ("/v1/users/%ff", 422, "wrong_type", "id"),
        ("/v1/users/u1?limt=3", 422, "unknown_field", "limt"),
        ("/v1/items", 422, "out_of_range", "query"),
        ("/v1/items?query=a&limit=0", 422, "out_of_range", "limit"),
        ("/v1/items?query=a&limit=x", 422, "wrong_type", "limit"),
        ("/v1/items?query=a&query=b", 422, "conflict", "query"),
    ] {
        let (got, error) = get(path);
        assert_eq!(
            (got, &error["code"], &error["field"]),
            (status, &json!(code), &json!(field)),
            "{path}"
        );
    }
    assert_eq!(get("/nothing/here").1["code"], "no_route");
    assert_eq!(get("/v1/recommend").0, 405);
    let mut post = |body: &Value| {
        let reply = c.post("/v1/recommend", body).unwrap();
        (reply.status, reply.json()["error"].clone())
    };
    // The width of the decoder is below the limit of the options.
    let (status, error) = post(&after(1, 31));
    assert_eq!((status, &error["allowed"]), (422, &json!("a whole number from 1 to 30")));
    let (status, error) = post(&json!({"history": ["i1", "i99"]}));
    assert_eq!((status, &error["field"]), (422, &json!("history[1]")));
    let (status, error) = post(&json!({"user": "u1", "exclude": ["no"]}));
    assert_eq!((status, &error["field"]), (422, &json!("exclude[0]")));
    assert_eq!(post(&json!({"user": "u".repeat(400)})).0, 413);
    // Without a length in the head the limit holds as well.
    let chunk = "1".repeat(400);
    let raw = format!(
        "POST /v1/recommend HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n190\r\n{chunk}\r\n0\r\n\r\n"
    );
    assert_eq!(s.client().raw(raw.as_bytes()).unwrap().status, 413);
    assert_eq!(s.client().raw(b"NONSENSE\r\n\r\n").unwrap().status, 400);
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    assert_eq!(s.client().raw(head.as_bytes()).unwrap().status, 431);
    s.stop();
}

#[test]
fn a_model_that_fails_harms_its_own_request_alone() {
    let options = ServeOptions { wait: 300, batch: 8, ..Default::default() };
    let s = Service::start(options);
    s.fake.shut();
    let results: Vec<(u32, u16)> = std::thread::scope(|scope| {
        let ask = |item: u32| {
            let mut c = s.client();
            scope.spawn(move || (item, c.post("/v1/recommend", &after(item, 1)).unwrap().status))
        };
        // The first one occupies the model; the others share the next batch.
        let mut asked = vec![ask(0)];
        s.fake.wait_for_calls(1);
        asked.extend([38, 1, 39, 2].map(ask));
        common::until("four waiting", || s.server.shared().queue.len() == 4);
        s.fake.open();
        asked.into_iter().map(|a| a.join().unwrap()).collect()
    });
    assert_eq!(results, [(0, 200), (38, 500), (1, 200), (39, 500), (2, 200)]);
    assert_eq!(s.fake.batches.lock().unwrap()[..2], [1, 4]);
    s.stop();
}
