//! A finished run behind HTTP.
//!
//! ```text
//! connection ─▶ route ─▶ parse ─▶ look up ─▶ queue ─▶ worker: one batch, one call of the model
//!   limits       │        limits   live run   bounded        └─▶ answer, or 504 when too late
//!                └─▶ items, users, health, metrics, page
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`options`] | where to listen, how to batch, a limit on every input |
//! | [`request`], [`answer`], [`fault`] | what bodies hold |
//! | [`live`] | the run that answers now, and its replacement |
//! | [`index`] | ids to numbers, words to items |
//! | [`queue`], [`worker`] | batches |
//! | [`routes`], [`admin`], [`http`] | what paths do |
//! | [`connections`], [`server`] | sockets, signals, the way to stop |
//! | [`metrics`], [`log`] | what is counted and written |
//!
//! A request keeps the run that its ids were looked up in, so a swap never mixes two runs in one
//! answer. Batches hold requests of one run only. Results do not depend on the batch: with
//! decoders that draw no random numbers an answer is the one of `sidereal recommend`.

pub mod admin;
pub mod answer;
pub mod connections;
pub mod fault;
pub mod http;
pub mod index;
pub mod live;
pub mod log;
pub mod metrics;
pub mod options;
pub mod queue;
pub mod request;
pub mod routes;
pub mod server;
pub mod state;
pub mod worker;

pub use admin::{Loader, Target};
pub use log::Log;
pub use options::ServeOptions;
pub use server::Server;
