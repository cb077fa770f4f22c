//! Trained runs in service: the answers are those of the run itself, and swaps are checked.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Service, ids, loader, tiny};
use serde_json::json;
use sidereal_core::{CodeOrder, ItemId, Run, SidTable};
use sidereal_experiment::{Asker, Cache, Finished, Registry, plan_of};
use sidereal_quantizers::{load_sids, save_sids};
use sidereal_serve::{ServeOptions, Target};
use std::path::Path;
use std::sync::Arc;

/// What the run itself recommends to its first users.
fn direct(folder: &Path, cache: &Path, users: usize) -> Vec<Vec<String>> {
    let registry = Registry::builtin().unwrap();
    let plan = plan_of(&registry, folder, &[]).unwrap();
    let cache = Cache::new(cache);
    let run = Finished::open(&registry, &plan, &cache, folder, Run::quiet(plan.seed)).unwrap();
    let of = |u: usize| run.recommend(&Asker::User(u.to_string()), 5).unwrap();
    (0..users).map(|u| of(u).recommendations.into_iter().map(|r| r.id).collect()).collect()
}

#[test]
fn answers_of_a_trained_run_and_swaps_that_fit_it() {
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let one = tiny(place.path(), "one", &[]);
    let two = tiny(place.path(), "two", &["train.epochs=3"]);
    let load = loader(cache.clone());
    let first = load(&Target { run: one.clone(), table: None }).unwrap();
    let users: Vec<String> = first.catalogue.users.iter().map(str::to_string).collect();
    let options = ServeOptions { threads: 2, ..Default::default() };
    let s = Service::over(first, Arc::default(), load, options);

    // All users at once, over several connections: whatever shares a batch, the answers are those
    // of the run.
    let served = |run: &str| -> Vec<Vec<String>> {
        let mut all: Vec<Vec<String>> = vec![Vec::new(); users.len()];
        std::thread::scope(|scope| {
            let share = users.len().div_ceil(8);
            for (users, answers) in users.chunks(share).zip(all.chunks_mut(share)) {
                let mut c = s.client();
                scope.spawn(move || {
                    for (user, answer) in users.iter().zip(answers) {
                        let body = json!({"user": user, "k": 5});
                        let reply = c.post("/v1/recommend", &body).unwrap();
                        assert_eq!(reply.status, 200);
                        assert_eq!(reply.json()["version"]["run"], run);
                        *answer = ids(&reply.json());
                    }
                });
            }
        });
        all
    };
    let of_one = direct(&one, &cache, users.len());
    assert_eq!(served("one"), of_one);
    // The path of an answer adds up to its score (`decoder.score = "full"`), for all that share a
    // batch and for each of its items; attributes of the world filter.
    let body = json!({"user": users[0], "k": 5, "explain": true});
    let answer = s.client().post("/v1/recommend", &body).unwrap().json();
    for item in answer["items"].as_array().unwrap() {
        let path = item["path"].as_array().unwrap();
        let sum: f64 = path.iter().map(|s| s["log_prob"].as_f64().unwrap()).sum();
        assert!((sum - item["score"].as_f64().unwrap()).abs() < 1e-4, "{item}");
        let tokens: String = path.iter().map(|s| s["token"].as_str().unwrap()).collect();
        assert_eq!(tokens, item["sid"].as_str().unwrap());
        let below: Vec<u64> = path.iter().map(|s| s["items"].as_u64().unwrap()).collect();
        assert!(below.is_sorted_by(|a, b| a >= b) && below.last() >= Some(&1), "{below:?}");
    }
    let mut admin = s.admin();
    let mut swap = |body: serde_json::Value| {
        let reply = admin.post("/admin/swap", &body).unwrap();
        (reply.status, reply.json())
    };
    let (status, swapped) = swap(json!({"run": two}));
    assert_eq!(
        (status, &swapped["version"]["run"], &swapped["previous"]["run"]),
        (200, &json!("two"), &json!("one"))
    );
    let of_two = direct(&two, &cache, users.len());
    assert_ne!(of_one, of_two);
    assert_eq!(served("two"), of_two);

    // A table with the same codes a level, in which two items have changed places.
    let own = load_sids(&two.join("sids.safetensors")).unwrap();
    let n = own.n_items();
    let swapped_item = |i: usize| ItemId([1, 0].get(i).copied().unwrap_or(i) as u32);
    let rows: Vec<_> =
        (0..n).map(|i| (ItemId(i as u32), own.first_sid(swapped_item(i)).unwrap())).collect();
    let other = SidTable::new(n, CodeOrder::Sequence, rows.iter().copied()).unwrap();
    let file = place.path().join("other.safetensors");
    save_sids(&file, &other).unwrap();
    let (status, swapped) = swap(json!({"table": file}));
    assert_eq!(status, 200, "{swapped}");
    assert_eq!(swapped["version"]["table"], format!("{:016x}", other.version()));
    assert_ne!(served("two"), of_two);

    // Tables that the model cannot read stay out.
    let wide: Vec<u32> = own.widths().iter().map(|w| w + 1).collect();
    let wrong = SidTable::new(1, CodeOrder::Sequence, [(ItemId(0), wide.as_slice())]).unwrap();
    save_sids(&file, &wrong).unwrap();
    let (status, refused) = swap(json!({"table": file}));
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("does_not_fit")));
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("does not fit the model: expected 60 items"), "{message}");
    assert_eq!(swap(json!({"run": place.path().join("nowhere")})).0, 422);
    // Without a table the run's own is back.
    let (_, swapped) = swap(json!({"run": two}));
    assert_eq!(swapped["version"]["generation"], 4);
    assert_eq!(served("two"), of_two);
    s.stop();
}
