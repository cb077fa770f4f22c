//! The same users before several systems: what each recommends to them.

use super::super::collect::System;
use crate::serve::ShownItem;
use serde::{Deserialize, Serialize};

/// A list of one system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExampleList {
    /// Name of the system.
    pub system: String,
    /// Best first.
    pub items: Vec<ShownItem>,
}

/// A test user with the lists of all systems (their first seeds).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserExample {
    /// Source id.
    pub user: String,
    /// Length of the whole history.
    pub history_length: usize,
    /// The most recent items, oldest first.
    pub history: Vec<ShownItem>,
    /// What the user took next.
    pub targets: Vec<ShownItem>,
    /// One list a system that has the user.
    pub lists: Vec<ExampleList>,
}

/// Users of the runs' own examples, in their order.
pub fn examples(systems: &[&System]) -> Vec<UserExample> {
    let mut out: Vec<UserExample> = Vec::new();
    for system in systems {
        for example in
            system.runs.iter().find(|r| !r.examples.is_empty()).iter().flat_map(|r| &r.examples)
        {
            let Some(user) = &example.user else { continue };
            let at = out.iter().position(|u| u.user == *user).unwrap_or_else(|| {
                // IDs are those of a system; the user's own items have none.
                let bare = |items: &[ShownItem]| -> Vec<ShownItem> {
                    items.iter().map(|i| ShownItem { sid: None, ..i.clone() }).collect()
                };
                out.push(UserExample {
                    user: user.clone(),
                    history_length: example.history_length,
                    history: bare(&example.history),
                    targets: bare(&example.targets),
                    lists: Vec::new(),
                });
                out.len() - 1
            });
            let items = example.recommendations.clone();
            out[at].lists.push(ExampleList { system: system.name.clone(), items });
        }
    }
    out
}
