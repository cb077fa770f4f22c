//! A file as blocks of rows: one is worked on while the next is read.

use crate::blocks::{BLOCK_UNIT, Blocks};
use sidereal_core::{Cancel, Error, Matrix, MatrixRef, Result};
use sidereal_nn::vector_file::VectorFile;
use std::sync::mpsc::{channel, sync_channel};

/// The vectors of a file.
pub(super) struct FileBlocks<'a> {
    file: &'a VectorFile,
    /// Rows of a block.
    block: usize,
    /// The row that visits begin with.
    first: usize,
    cancel: Cancel,
}

impl<'a> FileBlocks<'a> {
    /// Two blocks share `buffer` bytes.
    ///
    /// Errors: a buffer that does not hold two of the smallest blocks.
    pub(super) fn new(file: &'a VectorFile, buffer: usize, cancel: Cancel) -> Result<Self> {
        let unit = BLOCK_UNIT * file.cols().max(1) * size_of::<f32>();
        let units = buffer / (2 * unit);
        if units == 0 {
            return Err(Error::input(format!(
                "a buffer of {buffer} bytes for vectors of width {}; expected at least {}",
                file.cols(),
                2 * unit
            )));
        }
        Ok(FileBlocks { file, block: units * BLOCK_UNIT, first: 0, cancel })
    }

    /// The same, visited from a row on.
    pub(super) fn from(self, first: usize) -> Self {
        FileBlocks { first, ..self }
    }

    pub(super) fn file(&self) -> &VectorFile {
        self.file
    }
}

impl Blocks for FileBlocks<'_> {
    fn rows(&self) -> usize {
        self.file.rows()
    }

    fn cols(&self) -> usize {
        self.file.cols()
    }

    fn each(&self, visit: &mut dyn FnMut(usize, MatrixRef<'_>) -> Result<()>) -> Result<()> {
        let (rows, cols, block) = (self.rows(), self.cols(), self.block.min(self.rows()).max(1));
        let begin = self.first;
        let mut reader = self.file.reader()?;
        std::thread::scope(|scope| {
            let (full, read) = sync_channel::<Result<(usize, Vec<f32>)>>(1);
            let (empty, free) = channel::<Vec<f32>>();
            for _ in 0..2 {
                // The other end lives as long as its thread, which nothing has ended yet.
                let _ = empty.send(Vec::new());
            }
            scope.spawn(move || {
                for first in (begin..rows).step_by(block) {
                    // An end that is gone means that the visitor has stopped.
                    let Ok(mut values) = free.recv() else { return };
                    values.resize(block.min(rows - first) * cols, 0.0);
                    let got = reader.read(first, &mut values).map(|()| (first, values));
                    if full.send(got).is_err() {
                        return;
                    }
                }
            });
            for got in read {
                if self.cancel.is_cancelled() {
                    return Err(Error::Cancelled("on request".into()));
                }
                let (first, values) = got?;
                visit(first, MatrixRef::new(values.len() / cols.max(1), cols, &values)?)?;
                let _ = empty.send(values); // nobody waits for it behind the last block
            }
            Ok(())
        })
    }

    fn gather(&self, rows: &[u32]) -> Result<Matrix> {
        let mut out = Matrix::zeros(rows.len(), self.cols());
        let mut reader = self.file.reader()?;
        for (i, &row) in rows.iter().enumerate() {
            reader.read(row as usize, out.row_mut(i))?;
        }
        Ok(out)
    }
}
