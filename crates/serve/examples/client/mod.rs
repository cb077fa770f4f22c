//! An HTTP client for tests and for the load driver: one connection, kept as long as the service
//! keeps it, answers with a length.
#![allow(dead_code, reason = "each program uses a part")]

use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Lines of the head, in lower case.
    pub head: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|l| l.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A connection.
pub struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client of the service at `address`; it connects with its first request.
    pub fn new(address: SocketAddr) -> Self {
        Client { address, stream: None }
    }

    /// Sends a request and reads the answer.
    pub fn call(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Reply> {
        let json = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{json}content-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.raw(&[head.as_bytes(), body].concat())
    }

    /// `GET`.
    pub fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.call("GET", path, b"")
    }

    /// `POST` of JSON.
    pub fn post(&mut self, path: &str, body: &Value) -> io::Result<Reply> {
        self.call("POST", path, body.to_string().as_bytes())
    }

    /// Sends bytes as they are and reads an answer.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<Reply> {
        let stream = match self.stream.as_mut() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                self.stream.insert(BufReader::new(stream))
            }
        };
        let done = stream.get_mut().write_all(bytes).and_then(|()| read(stream));
        let keep = done.as_ref().is_ok_and(|r| r.header("connection") != Some("close"));
        if !keep {
            self.stream = None;
        }
        done
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Reply> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, what.to_string());
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(broken("the connection closed before an answer"));
    }
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| broken("no status"))?;
    let mut reply = Reply { status, head: Vec::new(), body: Vec::new() };
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(broken("the head broke off"));
        }
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        reply.head.push(text.to_ascii_lowercase());
    }
    let length = reply.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    reply.body.resize(length, 0);
    stream.read_exact(&mut reply.body)?;
    Ok(reply)
}
