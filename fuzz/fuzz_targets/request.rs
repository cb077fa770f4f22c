//! The body of `POST /v1/recommend`: any bytes are read within the limits or refused with a small
//! error; what was read is read again the same when it is written as clients write it.

#![no_main]

// The files themselves and not their crate, which would bring the models and all below them.
#[allow(dead_code)]
#[path = "../../crates/serve/src/fault.rs"]
mod fault;
#[allow(dead_code)]
#[path = "../../crates/serve/src/options.rs"]
mod options;
#[allow(dead_code)]
#[path = "../../crates/serve/src/request.rs"]
mod request;

use libfuzzer_sys::fuzz_target;
use request::{AskBody, Explain, Limits, Who, parse};

const LIMITS: Limits = Limits { body: 4096, history: 16, exclude: 8, k: 50, text: 64 };

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes, &LIMITS) {
        Err(fault) => {
            assert!(matches!(fault.status, 400 | 413 | 422), "{fault:?}");
            assert!(fault.body().len() < 2048, "{fault:?}");
        }
        Ok(ask) => {
            assert!(bytes.len() <= LIMITS.body);
            assert!((1..=LIMITS.k).contains(&ask.k) && ask.exclude.len() <= LIMITS.exclude);
            let (user, history) = match ask.who.clone() {
                Who::User(user) => (Some(user), None),
                Who::History(ids) => {
                    assert!((1..=LIMITS.history).contains(&ids.len()));
                    (None, Some(ids))
                }
            };
            let body = AskBody {
                user,
                history,
                k: Some(ask.k as u32),
                exclude: Some(ask.exclude.clone()),
                filter: ask.filter.clone(),
                explain: Some(ask.explain == Explain::Path),
            };
            let again = serde_json::to_vec(&body).expect("strings and numbers are JSON");
            // Escapes can make it longer than what was read.
            let limits = Limits { body: usize::MAX, ..LIMITS };
            assert_eq!(parse(&again, &limits).expect("it was read before"), ask);
        }
    }
});
