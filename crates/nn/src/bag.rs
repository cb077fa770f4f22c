//! The named bag of arrays between a model and an objective.
//!
//! Buffers are kept and reused: after the first micro-batch nothing is allocated.

use sidereal_core::{Error, Result};

/// One output: values, their gradients, and which target each row belongs to.
#[derive(Debug, Default)]
pub struct Field {
    name: &'static str,
    level: usize,
    live: bool,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// `rows x cols` values, written by the model.
    pub value: Vec<f32>,
    /// `rows x cols` gradients, written by the objective; zero unless it writes.
    pub grad: Vec<f32>,
    /// Target of each row; empty means that row `r` belongs to target `r`.
    pub target_of: Vec<u32>,
}

/// Named outputs of one micro-batch. Conventional names: `logits` (one field a level, rows are
/// targets, columns are codes), `query` (rows are targets, columns are widths of the item space).
#[derive(Debug, Default)]
pub struct Bag {
    fields: Vec<Field>,
    /// Item vectors that queries are compared with, when the model has them: place in the flat
    /// parameters, `rows x cols`.
    pub items: Option<ItemMatrix>,
}

/// A matrix of item vectors inside the flat parameters.
#[derive(Debug, Clone, Copy)]
pub struct ItemMatrix {
    /// Place in the flat parameters (and in the flat gradients).
    pub slot: crate::Slot,
    /// Number of items.
    pub rows: usize,
    /// Width of an item vector.
    pub cols: usize,
}

impl Bag {
    /// Forgets all fields but keeps their buffers.
    pub fn clear(&mut self) {
        self.items = None;
        for f in &mut self.fields {
            f.live = false;
        }
    }

    /// Adds a field of zeros and gives it for writing.
    pub fn put(
        &mut self,
        name: &'static str,
        level: usize,
        rows: usize,
        cols: usize,
    ) -> &mut Field {
        let at = match self.fields.iter().position(|f| f.name == name && f.level == level) {
            Some(i) => i,
            None => {
                self.fields.push(Field { name, level, ..Field::default() });
                self.fields.len() - 1
            }
        };
        let field = &mut self.fields[at];
        field.live = true;
        (field.rows, field.cols) = (rows, cols);
        field.target_of.clear();
        for v in [&mut field.value, &mut field.grad] {
            v.clear();
            v.resize(rows * cols, 0.0);
        }
        field
    }

    /// A field by name and level.
    pub fn get(&self, name: &str, level: usize) -> Result<&Field> {
        self.fields
            .iter()
            .find(|f| f.live && f.name == name && f.level == level)
            .ok_or_else(|| self.missing(name, level))
    }

    /// A field by name and level, writable.
    pub fn get_mut(&mut self, name: &str, level: usize) -> Result<&mut Field> {
        let at = self.fields.iter().position(|f| f.live && f.name == name && f.level == level);
        match at {
            Some(i) => Ok(&mut self.fields[i]),
            None => Err(self.missing(name, level)),
        }
    }

    /// Number of levels that a name has.
    pub fn levels(&self, name: &str) -> usize {
        self.fields.iter().filter(|f| f.live && f.name == name).count()
    }

    fn missing(&self, name: &str, level: usize) -> Error {
        let mut known: Vec<&str> = self.fields.iter().filter(|f| f.live).map(|f| f.name).collect();
        known.dedup();
        Error::mismatch(format!(
            "the objective needs output `{name}` (level {level}), but the backbone gives: {}",
            if known.is_empty() { "nothing".to_string() } else { known.join(", ") }
        ))
    }
}
