//! Options of the service: where it listens, how it batches, and a limit on every input.

use sidereal_core::{Error, Result};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

sidereal_core::options! {
    /// Options of `sidereal serve`.
    pub struct ServeOptions {
        /// Where the service listens, host and port; port 0 takes a free one.
        pub address: String = "127.0.0.1:7878".into(),
        /// Where the admin interface listens: a loopback address, or nothing for none.
        pub admin: String = "127.0.0.1:7879".into(),
        /// Threads that run the model, 1 to 1024, or 0 for one a core.
        pub threads: u32 = 0,
        /// Requests that wait for the model, 1 to 1000000; one more is refused with 503.
        pub queue: u32 = 256,
        /// Most requests that the model answers at once, 1 to 1024.
        pub batch: u32 = 16,
        /// Milliseconds that a request waits for others to share a batch with, 0 to 1000. Nothing
        /// is waited for where the last batch was a single request.
        pub wait: u32 = 2,
        /// Milliseconds until a request is answered or given up with 504, 1 to 600000.
        pub timeout: u32 = 2000,
        /// Open connections, 1 to 100000; one more is refused with 503.
        pub connections: u32 = 1024,
        /// Milliseconds until the head of a request must have come, 1 to 600000; also how long an
        /// unused connection stays open.
        pub head_timeout: u32 = 10000,
        /// Milliseconds until the body of a request must have come, 1 to 600000.
        pub body_timeout: u32 = 5000,
        /// Bytes of a body, 64 to 16777216.
        pub max_body: u32 = 65536,
        /// Items of a history in a request, 1 to 100000.
        pub max_history: u32 = 1000,
        /// Items that a request excludes, 0 to 100000.
        pub max_exclude: u32 = 1000,
        /// Items of an answer, 1 to 10000; never more than `decoder.width` of a generative model.
        pub max_k: u32 = 100,
        /// Bytes of an id, a query or a filter, 1 to 65536.
        pub max_text: u32 = 1024,
    }
}

fn between(key: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::config(
        format!("serve.{key}"),
        format!("got {value}, expected {} to {}", range.start(), range.end()),
    ))
}

impl ServeOptions {
    /// Errors: an option outside its range, addresses that mean nothing, an admin address that
    /// other machines could reach.
    pub fn check(&self) -> Result<()> {
        between("threads", self.threads, 0..=1024)?;
        between("queue", self.queue, 1..=1_000_000)?;
        between("batch", self.batch, 1..=1024)?;
        between("wait", self.wait, 0..=1000)?;
        between("timeout", self.timeout, 1..=600_000)?;
        between("connections", self.connections, 1..=100_000)?;
        between("head_timeout", self.head_timeout, 1..=600_000)?;
        between("body_timeout", self.body_timeout, 1..=600_000)?;
        between("max_body", self.max_body, 64..=16_777_216)?;
        between("max_history", self.max_history, 1..=100_000)?;
        between("max_exclude", self.max_exclude, 0..=100_000)?;
        between("max_k", self.max_k, 1..=10_000)?;
        between("max_text", self.max_text, 1..=65_536)?;
        self.public()?;
        self.private().map(drop)
    }

    /// Where the service listens.
    pub fn public(&self) -> Result<SocketAddr> {
        socket("address", &self.address)
    }

    /// Where the admin interface listens.
    pub fn private(&self) -> Result<Option<SocketAddr>> {
        if self.admin.is_empty() {
            return Ok(None);
        }
        let address = socket("admin", &self.admin)?;
        if !address.ip().is_loopback() {
            return Err(Error::config(
                "serve.admin",
                format!(
                    "got `{}`, expected a loopback address as in 127.0.0.1:7879: whoever reaches \
                     it can replace the model",
                    self.admin
                ),
            ));
        }
        Ok(Some(address))
    }

    /// Threads that run the model.
    pub fn model_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n as usize,
        }
    }
}

fn socket(key: &str, text: &str) -> Result<SocketAddr> {
    let wrong = |why: String| {
        let message = format!("got `{text}`, expected host:port as in 127.0.0.1:7878{why}");
        Error::config(format!("serve.{key}"), message)
    };
    let mut found = text.to_socket_addrs().map_err(|e| wrong(format!(" ({e})")))?;
    found.next().ok_or_else(|| wrong(String::new()))
}

/// Milliseconds of an option.
pub(crate) fn millis(value: u32) -> Duration {
    Duration::from_millis(u64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::{Options, Spec};

    #[test]
    fn values_outside_their_range_are_named() {
        assert!(ServeOptions::default().check().is_ok());
        for (key, value, expected) in [
            ("queue", 0, "expected 1 to 1000000"),
            ("batch", 4096, "expected 1 to 1024"),
            ("max_body", 1, "expected 64 to 16777216"),
            ("max_k", 0, "expected 1 to 10000"),
        ] {
            let spec = Spec::new("serve", "http").with(key, value);
            let error = ServeOptions::from_spec(&spec).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(&format!("serve.{key}")) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_admin_interface_is_for_this_machine_alone() {
        let admin = |text: &str| {
            ServeOptions { admin: text.into(), ..Default::default() }
                .private()
                .map_err(|e| e.to_string())
        };
        assert!(admin("0.0.0.0:1").unwrap_err().contains("loopback"));
        assert!(admin("nowhere").unwrap_err().contains("host:port"));
        assert_eq!(admin("").unwrap(), None);
        assert_eq!(admin("[::1]:9").unwrap().unwrap().port(), 9);
    }
}
