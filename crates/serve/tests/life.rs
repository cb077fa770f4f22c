//! Overload, time-outs, slow clients, swaps and the end of a service.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Client, Service, after, ids, until};
use serde_json::json;
use sidereal_serve::ServeOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A request as bytes.
fn bytes(item: u32) -> Vec<u8> {
    let body = after(item, 1).to_string();
    let length = body.len();
    format!("POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Opens a connection and sends a request, without reading the answer.
fn send(s: &Service, item: u32) -> TcpStream {
    let mut stream = TcpStream::connect(s.server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&bytes(item)).unwrap();
    stream
}

/// All that still comes on a connection.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends what comes as well.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_full_queue_refuses_and_the_rest_is_answered() {
    let s = Service::start(ServeOptions { queue: 2, timeout: 20_000, ..Default::default() });
    s.fake.shut();
    let first = send(&s, 1);
    s.fake.wait_for_calls(1);
    let waiting: Vec<TcpStream> = (2..4).map(|i| send(&s, i)).collect();
    until("a full queue", || s.server.shared().queue.len() == 2);
    assert_eq!(s.metric("sidereal_queue_depth"), 2.0);
    for _ in 0..3 {
        let reply = s.client().post("/v1/recommend", &after(9, 1)).unwrap();
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
        assert_eq!(reply.json()["error"]["code"], "queue_full");
    }
    assert_eq!(s.metric("sidereal_rejected_total{reason=\"queue\"}"), 3.0);
    s.fake.open();
    s.server.stop();
    for stream in std::iter::once(first).chain(waiting) {
        assert!(rest(stream).starts_with("HTTP/1.1 200 OK"));
    }
    s.stopped();
}

#[test]
fn late_requests_are_given_up_and_never_begun() {
    let s = Service::start(ServeOptions { timeout: 150, ..Default::default() });
    s.fake.shut();
    let running = send(&s, 1);
    s.fake.wait_for_calls(1);
    let began = Instant::now();
    let reply = s.client().post("/v1/recommend", &after(2, 1)).unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (504, &json!("timed_out")));
    assert!(began.elapsed() < Duration::from_secs(3));
    // A client that breaks off gives up, too.
    let leaving = send(&s, 3);
    until("the third one waits", || s.server.shared().queue.len() == 2);
    drop(leaving);
    // It is heard of, or its time is over.
    std::thread::sleep(Duration::from_millis(200));
    s.fake.open();
    until("dropped", || s.metric("sidereal_dropped_total") == 2.0);
    assert_eq!(s.fake.batches.lock().unwrap().as_slice(), [1]);
    assert!(s.metric("sidereal_timed_out_total") >= 2.0);
    assert_eq!(s.client().post("/v1/recommend", &after(2, 1)).unwrap().status, 200);
    s.server.stop();
    assert!(rest(running).starts_with("HTTP/1.1 504"));
    s.stopped();
}

#[test]
fn slow_clients_and_too_many_of_them() {
    let options =
        ServeOptions { head_timeout: 200, body_timeout: 200, connections: 3, ..Default::default() };
    let s = Service::start(options);
    let open = |text: &str| {
        let mut stream = TcpStream::connect(s.server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let began = Instant::now();
    let head = open("POST /v1/recommend HTTP/1.1\r\nhost: x\r\n");
    let body = open("POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n{");
    let idle = open("");
    until("three connections", || s.server.shared().metrics.connections.load(Relaxed) == 3);
    let refused = rest(open(""));
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert!(rest(body).starts_with("HTTP/1.1 408"));
    assert!(!rest(head).contains("200 OK"));
    assert_eq!(rest(idle), "");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(s.metric("sidereal_rejected_total{reason=\"connections\"}"), 1.0);
    s.stop();
}

#[test]
fn a_service_that_stops_answers_all_it_has() {
    let s = Service::start(ServeOptions { timeout: 20_000, ..Default::default() });
    let mut idle = s.client();
    assert_eq!(idle.get("/ready").unwrap().status, 200);
    s.fake.shut();
    let mut sent = vec![send(&s, 1)];
    s.fake.wait_for_calls(1);
    // Some wait in the queue, some lie in sockets that nobody has read, when the stop comes.
    sent.extend((2..30).map(|i| send(&s, i)));
    s.server.stop();
    let late = idle.get("/ready");
    if let Ok(reply) = &late {
        assert_eq!((reply.status, reply.header("connection")), (503, Some("close")));
    }
    let address = s.server.address();
    until("closed for new connections", || TcpStream::connect(address).is_err());
    s.fake.open();
    for (i, stream) in sent.into_iter().enumerate() {
        let text = rest(stream);
        assert!(text.starts_with("HTTP/1.1 200 OK"), "request {i}: {text}");
        assert!(text.contains("connection: close"), "{text}");
    }
    s.stopped();
}

#[test]
fn swaps_under_load_mix_nothing_and_lose_nothing() {
    let s = Service::start(ServeOptions { threads: 2, ..Default::default() });
    let end = Arc::new(AtomicBool::new(false));
    let answered: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4u32)
            .map(|t| {
                let (mut c, end) = (s.client(), end.clone());
                scope.spawn(move || {
                    let mut n = 0;
                    while !end.load(Relaxed) {
                        let item = (n as u32 * 7 + t) % 30;
                        let reply = c.post("/v1/recommend", &after(item, 2)).unwrap();
                        assert_eq!(reply.status, 200);
                        let answer = reply.json();
                        let shift = if answer["version"]["run"] == "shifted" { 6 } else { 1 };
                        let generation = answer["version"]["generation"].as_u64().unwrap();
                        assert_eq!(generation % 2 == 0, shift == 6);
                        let want = [(item + shift) % 40, (item + shift + 1) % 40];
                        assert_eq!(ids(&answer), want.map(|i| format!("i{i}")));
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        let mut admin = s.admin();
        for i in 0..40 {
            let run = if i % 2 == 0 { "shifted" } else { "first" };
            let reply = admin.post("/admin/swap", &json!({"run": run})).unwrap();
            assert_eq!(
                (reply.status, &reply.json()["version"]["generation"]),
                (200, &json!(i + 2))
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        end.store(true, Relaxed);
        clients.into_iter().map(|c| c.join().unwrap()).sum()
    });
    assert!(answered > 100, "{answered}");
    assert_eq!(s.metric("sidereal_swaps_total"), 40.0);
    s.stop();
}

#[test]
fn a_swap_that_fails_changes_nothing() {
    let s = Service::start(ServeOptions::default());
    let mut admin = s.admin();
    for (run, says) in [("broken", "this run is broken"), ("silent", "0 answers")] {
        let reply = admin.post("/admin/swap", &json!({"run": run})).unwrap();
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (422, &json!("does_not_fit")));
        assert!(reply.json()["error"]["message"].as_str().unwrap().contains(says));
    }
    let reply = admin.post("/admin/swap", &json!({"runn": "x"})).unwrap();
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("did you mean `run`"));
    // Requests that a web page in a browser could send.
    let body = "{}";
    let head = "POST /admin/swap HTTP/1.1\r\ncontent-length: 2\r\n";
    let plain = format!("{head}host: localhost\r\ncontent-type: text/plain\r\n\r\n{body}");
    assert_eq!(s.admin().raw(plain.as_bytes()).unwrap().status, 415);
    let foreign =
        format!("{head}host: evil.example\r\ncontent-type: application/json\r\n\r\n{body}");
    assert_eq!(s.admin().raw(foreign.as_bytes()).unwrap().status, 403);
    // The public address does not swap.
    assert_eq!(s.client().post("/admin/swap", &json!({})).unwrap().status, 404);
    let answer = s.client().post("/v1/recommend", &after(1, 1)).unwrap().json();
    assert_eq!((&answer["version"]["generation"], ids(&answer)), (&json!(1), vec!["i2".into()]));
    assert_eq!(s.metric("sidereal_failed_swaps_total"), 2.0);
    s.stop();
}

#[test]
fn requests_in_flight_keep_the_run_they_began_with() {
    let s = Service::start(ServeOptions::default());
    s.fake.shut();
    let stream = send(&s, 3);
    s.fake.wait_for_calls(1);
    // The fake behind "shifted" is another one, whose gate is open.
    assert_eq!(s.admin().post("/admin/swap", &json!({"run": "shifted"})).unwrap().status, 200);
    s.fake.open();
    s.server.stop();
    let text = rest(stream);
    assert!(text.contains("\"generation\":1") && text.contains("\"i4\""), "{text}");
    s.stopped();
}

#[test]
fn clients_that_come_together_share_batches() {
    let s = Service::start(ServeOptions { wait: 20, ..Default::default() });
    std::thread::scope(|scope| {
        for t in 0..8 {
            let mut c: Client = s.client();
            scope.spawn(move || {
                for i in 0..20 {
                    let reply = c.post("/v1/recommend", &after((t + i) % 30, 1)).unwrap();
                    assert_eq!(reply.status, 200);
                }
            });
        }
    });
    let batches = s.fake.batches.lock().unwrap().clone();
    assert_eq!(batches.iter().sum::<usize>(), 160);
    assert!(batches.len() < 120, "{} batches for 160 requests", batches.len());
    assert!(batches.iter().all(|&b| b <= 16));
    s.stop();
}
