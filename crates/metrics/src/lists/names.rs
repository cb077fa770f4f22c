//! Names of users and items as numbers.

use sidereal_core::{ItemId, StringColumn};
use std::collections::HashMap;

/// Numbers names in the order in which they are seen, or knows a fixed catalogue.
#[derive(Debug, Clone, Default)]
pub struct Names {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    fixed: bool,
}

impl Names {
    /// Takes every name.
    pub fn new() -> Self {
        Names::default()
    }

    /// The source ids of a catalogue and no others; of equal ids the first counts.
    pub fn of_catalogue(ids: &StringColumn) -> Self {
        let mut names = Names::new();
        for (i, id) in ids.iter().enumerate() {
            names.numbers.entry(id.to_string()).or_insert(i as u32);
            names.names.push(id.to_string());
        }
        names.fixed = true;
        names
    }

    /// The number of a name; none for a name that a fixed catalogue does not have.
    pub fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        if self.fixed {
            return None;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(name.to_string(), number);
        self.names.push(name.to_string());
        Some(number)
    }

    /// The name of an item.
    pub fn name(&self, item: ItemId) -> &str {
        &self.names[item.index()]
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All names in the order of their numbers.
    pub fn into_names(self) -> Vec<String> {
        self.names
    }
}
