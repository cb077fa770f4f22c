//! Lines of a plain or gzip file with their numbers, in bounded memory.
//!
//! Files are read block by block into a few reused buffers, never mapped: a mapped file counts as
//! resident memory up to its whole size, and a file that shrinks under a map kills the process.
//! With more than one thread a second thread reads (and inflates) ahead of the parser; blocks
//! arrive in file order, so the threads change no result.

use flate2::bufread::MultiGzDecoder;
use memchr::memchr;
use sidereal_core::{Error, Event, Result, Run};
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes of one block.
const BLOCK: usize = 1 << 20;
/// No line of real data comes near this; a file without newlines must not fill the memory.
const LONGEST: usize = 256 << 20;

/// Iterates over the lines of one file.
pub(crate) struct Lines<'a> {
    path: PathBuf,
    feed: Feed,
    block: Vec<u8>,
    at: usize,
    /// Start of a line that a block's end cut.
    carry: Vec<u8>,
    carry_given: bool,
    /// Where the last line is: in the block, or the carry.
    place: Option<Range<usize>>,
    peeked: Option<bool>,
    line: u64,
    done: bool,
    run: &'a Run<'a>,
    task: String,
}

enum Feed {
    Direct(Box<dyn Read + Send>),
    Ahead { blocks: Receiver<std::io::Result<Vec<u8>>>, used: SyncSender<Vec<u8>> },
}

impl<'a> Lines<'a> {
    /// Opens a file; gzip is recognised by its first bytes. An empty file is an error.
    pub(crate) fn open(path: &Path, run: &'a Run<'a>) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| Error::read(path, e))?;
        if file.metadata().map_err(|e| Error::read(path, e))?.is_dir() {
            return Err(Error::data(path, "is a folder, expected a file"));
        }
        let mut head = Vec::with_capacity(2);
        file.by_ref().take(2).read_to_end(&mut head).map_err(|e| Error::read(path, e))?;
        if head.is_empty() {
            return Err(Error::data(path, "the file is empty"));
        }
        let gzip = head == [0x1f, 0x8b];
        let whole = std::io::Cursor::new(head).chain(file);
        let bytes: Box<dyn Read + Send> = if gzip {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 17, whole)))
        } else {
            Box::new(whole)
        };
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        let task = format!("read {}", name.unwrap_or_default());
        run.emit(Event::Started { task: &task, total: 0, unit: "lines" });
        Ok(Lines {
            path: path.into(),
            feed: if run.threads > 1 { read_ahead(bytes) } else { Feed::Direct(bytes) },
            block: Vec::new(),
            at: 0,
            carry: Vec::new(),
            carry_given: false,
            place: None,
            peeked: None,
            line: 0,
            done: false,
            run,
            task,
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// One-based number of the line given last.
    pub(crate) fn number(&self) -> u64 {
        self.line
    }

    /// The line that the next call of [`Lines::next`] will give.
    pub(crate) fn peek(&mut self) -> Result<Option<&[u8]>> {
        if self.peeked.is_none() {
            let some = self.next()?.is_some();
            self.peeked = Some(some);
        }
        Ok(if self.peeked == Some(true) { Some(self.last()) } else { None })
    }

    /// The next line without its end (`\n` or `\r\n`); a byte-order mark at the start is left out.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        if let Some(some) = self.peeked.take() {
            return Ok(if some { Some(self.last()) } else { None });
        }
        if self.carry_given {
            self.carry.clear();
            self.carry_given = false;
        }
        let Some(place) = self.find()? else { return Ok(None) };
        self.line += 1;
        self.carry_given = place.is_none();
        self.place = place;
        Ok(Some(self.last()))
    }

    /// The line that [`Lines::next`] gave last, again.
    #[inline]
    pub(crate) fn last(&self) -> &[u8] {
        let mut line = match &self.place {
            Some(range) => &self.block[range.clone()],
            None => &self.carry[..],
        };
        if self.line == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// Where the next line is: a range of the block, or the carry; `None` at the end.
    #[inline]
    #[allow(clippy::option_option)]
    fn find(&mut self) -> Result<Option<Option<Range<usize>>>> {
        loop {
            let start = self.at;
            if let Some(n) = memchr(b'\n', &self.block[start..]) {
                self.at = start + n + 1;
                if self.carry.is_empty() {
                    return Ok(Some(Some(start..start + n)));
                }
                self.carry.extend_from_slice(&self.block[start..start + n]);
                return Ok(Some(None));
            }
            self.carry.extend_from_slice(&self.block[start..]);
            if self.carry.len() > LONGEST {
                let message = format!("the line is longer than {} MiB", LONGEST >> 20);
                return Err(Error::data_line(&self.path, self.line + 1, message));
            }
            if self.done || !self.next_block()? {
                return Ok(if self.carry.is_empty() { None } else { Some(None) });
            }
        }
    }

    /// Replaces the block by the next one; false at the end of the file.
    fn next_block(&mut self) -> Result<bool> {
        self.run.check()?;
        self.run.emit(Event::Advanced { task: &self.task, done: self.line, numbers: &[] });
        self.at = 0;
        let filled = match &mut self.feed {
            Feed::Direct(bytes) => fill(bytes, &mut self.block),
            Feed::Ahead { blocks, used } => {
                // The reader may have ended already; then nobody needs the buffer.
                let _ = used.try_send(std::mem::take(&mut self.block));
                match blocks.recv() {
                    Ok(Ok(block)) => {
                        self.block = block;
                        Ok(())
                    }
                    Ok(Err(e)) => Err(e),
                    // The sender is gone: end of file.
                    Err(_) => Ok(()),
                }
            }
        };
        if let Err(e) = filled {
            self.done = true;
            self.block.clear();
            return Err(self.broken(e));
        }
        self.done = self.block.is_empty();
        if self.done {
            self.run.emit(Event::Finished { task: &self.task });
        }
        Ok(!self.done)
    }

    fn broken(&self, e: std::io::Error) -> Error {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match e.kind() {
            UnexpectedEof => Error::data_line(
                &self.path,
                self.line + 1,
                "the gzip stream ends early: the file is truncated; fetch it again",
            ),
            InvalidInput | InvalidData => Error::data_line(
                &self.path,
                self.line + 1,
                format!("the gzip stream is damaged ({e}); fetch the file again"),
            ),
            _ => Error::read(&self.path, e),
        }
    }
}

/// Fills the block from its start; leaves it empty at the end of the file.
fn fill(bytes: &mut impl Read, block: &mut Vec<u8>) -> std::io::Result<()> {
    block.clear();
    bytes.by_ref().take(BLOCK as u64).read_to_end(block).map(|_| ())
}

fn read_ahead(mut bytes: Box<dyn Read + Send>) -> Feed {
    let (give, blocks) = sync_channel(4);
    let (used, reuse) = sync_channel::<Vec<u8>>(8);
    std::thread::spawn(move || {
        loop {
            let mut block = reuse.try_recv().unwrap_or_default();
            let result = fill(&mut bytes, &mut block);
            let last = result.is_err() || block.is_empty();
            // A parser that stopped early hung up.
            if give.send(result.map(|()| block)).is_err() || last {
                return;
            }
        }
    });
    Feed::Ahead { blocks, used }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn read(path: &Path, threads: usize) -> Result<Vec<Vec<u8>>> {
        let run = Run { threads, ..Run::quiet(0) };
        let mut lines = Lines::open(path, &run)?;
        let mut out = Vec::new();
        while let Some(line) = lines.next()? {
            out.push(line.to_vec());
        }
        assert_eq!(lines.number(), out.len() as u64);
        Ok(out)
    }

    #[test]
    fn ends_marks_and_long_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"\xef\xbb\xbfone\r\n\ntwo\nthree").unwrap();
        let want: Vec<Vec<u8>> = [&b"one"[..], b"", b"two", b"three"].map(|s| s.to_vec()).into();
        assert_eq!(read(&path, 1).unwrap(), want);
        assert_eq!(read(&path, 2).unwrap(), want);
    }

    #[test]
    fn truncated_gzip_names_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gz");
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for i in 0..50_000 {
            writeln!(gz, "{}", i * 7919 % 10_007).unwrap();
        }
        let bytes = gz.finish().unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        for threads in [1, 2] {
            let err = read(&path, threads).unwrap_err().to_string();
            assert!(err.contains("a.gz:") && err.contains("truncated"), "{err}");
        }
        std::fs::write(&path, b"\x1f\x8bnot gzip at all").unwrap();
        let err = read(&path, 1).unwrap_err().to_string();
        assert!(err.contains("a.gz:1") && err.contains("gzip"), "{err}");
        std::fs::write(&path, b"").unwrap();
        assert!(read(&path, 1).unwrap_err().to_string().contains("empty"));
        assert!(read(dir.path(), 1).unwrap_err().to_string().contains("folder"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn lines_across_blocks_are_whole(
            lengths in prop::collection::vec(0usize..700_000, 1..8), gzip in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a");
            let want: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(i, &n)| vec![b'a' + i as u8; n + 1]).collect();
            let mut bytes = want.join(&b'\n');
            bytes.push(b'\n');
            if gzip {
                let fast = flate2::Compression::fast();
                let mut gz = flate2::write::GzEncoder::new(Vec::new(), fast);
                gz.write_all(&bytes).unwrap();
                bytes = gz.finish().unwrap();
            }
            std::fs::write(&path, bytes).unwrap();
            prop_assert!(read(&path, 1).unwrap() == want);
            prop_assert!(read(&path, 2).unwrap() == want);
        }
    }
}
