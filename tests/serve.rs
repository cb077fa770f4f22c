//! `sidereal serve` as a process: what it prints, signals, the log, the exit code.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../crates/serve/examples/client/mod.rs"]
mod client;
mod common;

use client::Client;
use common::Place;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A user of the synthetic world.
const USER: &str = "user-00";

struct Service {
    child: Child,
    /// Reads the log as it comes: a full pipe would hold it up.
    log: JoinHandle<String>,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Service {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let own = ["serve", "runs/tiny", "--address", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let mut command = place.command(&[&own, arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |start: &str| -> SocketAddr {
            let line = lines.find(|l| l.as_ref().is_ok_and(|l| l.starts_with(start)));
            let line = line.unwrap().unwrap();
            line.split('/').nth(2).unwrap().parse().unwrap()
        };
        let (address, admin) = (address("service "), address("admin "));
        let mut errors = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        });
        Service { child, log, address, admin }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

#[test]
fn answers_swaps_and_stops_on_signals() {
    let place = Place::new();
    place.run(&[]).ok();
    let mut service = Service::start(&place, &["--log", "--set", "serve.max_k=5"]);
    let mut client = Client::new(service.address);
    let user = USER;
    let body = json!({"user": user, "k": 3, "explain": true});
    let reply = client.post("/v1/recommend", &body).unwrap();
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let answer = reply.json();
    assert_eq!(answer["items"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&answer["version"]["run"], &answer["version"]["generation"]),
        (&json!("tiny"), &json!(1))
    );
    let refused = client.post("/v1/recommend", &json!({"user": user, "k": 6})).unwrap();
    assert_eq!(refused.status, 422);

    // SIGHUP reads the run again; so does the admin interface.
    service.signal("-HUP");
    let began = Instant::now();
    let generation = |client: &mut Client| {
        client.get("/health").unwrap().json()["version"]["generation"].clone()
    };
    while generation(&mut client) != 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "SIGHUP changed nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    let swapped = Client::new(service.admin).post("/admin/swap", &json!({})).unwrap();
    assert_eq!((swapped.status, &swapped.json()["version"]["generation"]), (200, &json!(3)));

    // Clients ask without pause while the signal comes. Each is answered, or finds the service
    // closed; none loses an answer to a request that the service took.
    let (address, body) = (service.address, json!({"user": user, "k": 3}));
    let answered: Vec<usize> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let body = &body;
                scope.spawn(move || {
                    let mut answered = 0;
                    loop {
                        // A connection each, so that every request was taken or refused.
                        match Client::new(address).post("/v1/recommend", body) {
                            Ok(reply) if reply.status == 200 => answered += 1,
                            Ok(reply) => panic!("status {}", reply.status),
                            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                                return answered;
                            }
                            // Between the handshake and the closed listener.
                            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => {}
                            Err(e) => panic!("{e}"),
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        service.signal("-TERM");
        clients.into_iter().map(|c| c.join().unwrap()).collect()
    });
    assert!(answered.iter().all(|&n| n > 0), "{answered:?}");
    let status = service.child.wait().unwrap();
    let log = service.log.join().unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let good = |l: &&Value| l["route"] == "/v1/recommend" && l["status"] == 200;
    assert!(lines.iter().filter(good).count() > answered.iter().sum::<usize>());
    assert!(!log.contains(&format!("\"{user}\"")), "ids stay out of the log");
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let place = Place::new();
    place.run(&[]).ok();
    for (arguments, code, says) in [
        (vec!["serve", "runs/none"], 3, "no run folder"),
        (vec!["serve", "runs/tiny", "--queue", "0"], 4, "serve.queue"),
        (vec!["serve", "runs/tiny", "--set", "serve.quue=3"], 4, "did you mean `queue`"),
        (vec!["serve", "runs/tiny", "--admin", "0.0.0.0:0"], 4, "loopback"),
        (vec!["serve", "runs/tiny", "--set", "train.epochs=3"], 4, "only [decoder]"),
        (vec!["serve", "runs/tiny", "--table", "no.safetensors"], 3, "no.safetensors"),
    ] {
        let done = place.sidereal(&arguments);
        assert_eq!(done.code, code, "{arguments:?}: {}", done.err);
        assert!(done.err.contains(says), "{arguments:?}: {}", done.err);
    }
}
