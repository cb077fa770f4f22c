//! A packed micro-batch: histories back to back without padding, and the targets to predict.

use sidereal_core::{Code, Error, ItemId, Result, SidTable, UserId};
use std::sync::Arc;

/// One thing to predict: `item` follows the first `position` history items of `row`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Row of the batch.
    pub row: u32,
    /// Number of history items of that row that may be seen.
    pub position: u32,
    /// The item that comes next.
    pub item: ItemId,
}

/// What a backbone reads. Columns that a model does not need stay empty.
///
/// Row `b` owns `items[item_offsets[b]..item_offsets[b + 1]]`, oldest first. Codes lie flat with
/// the boundaries of each item, so identifiers may differ in length.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Start of each row in `items`, and the end of the last: B + 1 values.
    pub item_offsets: Vec<u32>,
    /// History items of all rows.
    pub items: Vec<ItemId>,
    /// Codes of all history items; empty without a SID table.
    pub codes: Vec<Code>,
    /// Start of each history item in `codes`, and the end of the last.
    pub code_offsets: Vec<u32>,
    /// Unix seconds of each history item; empty when unknown.
    pub times: Vec<i64>,
    /// User of each row, `None` where unknown; empty when nobody said.
    pub users: Vec<Option<UserId>>,
    /// What to predict, by row, positions rising within a row.
    pub targets: Vec<Target>,
    /// Codes of all targets.
    pub target_codes: Vec<Code>,
    /// Start of each target in `target_codes`, and the end of the last.
    pub target_code_offsets: Vec<u32>,
}

impl Batch {
    /// Number of rows B.
    pub fn rows(&self) -> usize {
        self.item_offsets.len().saturating_sub(1)
    }

    /// History items of a row, oldest first.
    pub fn history(&self, row: usize) -> &[ItemId] {
        &self.items[self.history_range(row)]
    }

    /// Where a row's history lies in `items`.
    pub fn history_range(&self, row: usize) -> std::ops::Range<usize> {
        self.item_offsets[row] as usize..self.item_offsets[row + 1] as usize
    }

    /// Codes of the history item at index `i` of `items`.
    pub fn item_codes(&self, i: usize) -> &[Code] {
        &self.codes[self.code_offsets[i] as usize..self.code_offsets[i + 1] as usize]
    }

    /// Codes of target `t`.
    pub fn target_sid(&self, t: usize) -> &[Code] {
        let o = &self.target_code_offsets;
        &self.target_codes[o[t] as usize..o[t + 1] as usize]
    }
}

/// Turns histories into batches: keeps the most recent items and looks up codes.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    sids: Option<Arc<SidTable>>,
    max_history: usize,
}

impl BatchBuilder {
    /// Keeps at most `max_history` items a row; with a table, codes are filled in too.
    pub fn new(sids: Option<Arc<SidTable>>, max_history: usize) -> Self {
        BatchBuilder { sids, max_history }
    }

    /// The most history items a row can have.
    pub fn max_history(&self) -> usize {
        self.max_history
    }

    /// Empties a batch, keeping its buffers.
    pub fn clear(&self, batch: &mut Batch) {
        let Batch {
            item_offsets,
            items,
            codes,
            code_offsets,
            times,
            users,
            targets,
            target_codes,
            target_code_offsets,
        } = batch;
        items.clear();
        codes.clear();
        times.clear();
        users.clear();
        targets.clear();
        target_codes.clear();
        for offsets in [item_offsets, code_offsets, target_code_offsets] {
            offsets.clear();
            offsets.push(0);
        }
    }

    /// Adds a request: a history without a target.
    pub fn push_history(&self, batch: &mut Batch, history: &[ItemId]) -> Result<()> {
        let recent = &history[history.len().saturating_sub(self.max_history)..];
        for &item in recent {
            batch.items.push(item);
            self.push_codes(item, &mut batch.codes)?;
            batch.code_offsets.push(batch.codes.len() as u32);
        }
        batch.item_offsets.push(batch.items.len() as u32);
        Ok(())
    }

    /// Adds a history whose next item is `target`.
    pub fn push_next(&self, batch: &mut Batch, history: &[ItemId], target: ItemId) -> Result<()> {
        self.push_history(batch, history)?;
        let position = history.len().min(self.max_history);
        self.push_target(batch, position, target)
    }

    /// Adds a sequence of which every item but the first is a target. Sequences longer than
    /// `max_history + 1` keep their most recent part.
    pub fn push_every(&self, batch: &mut Batch, sequence: &[ItemId]) -> Result<()> {
        let recent = &sequence[sequence.len().saturating_sub(self.max_history + 1)..];
        let Some((_, history)) = recent.split_last() else {
            return self.push_history(batch, &[]);
        };
        self.push_history(batch, history)?;
        for (position, &item) in recent.iter().enumerate().skip(1) {
            self.push_target(batch, position, item)?;
        }
        Ok(())
    }

    /// Says whose the row just added is, for models that know users; once for every row or never.
    pub fn push_user(&self, batch: &mut Batch, user: Option<UserId>) {
        batch.users.push(user);
    }

    /// Adds the times of the history of the row just added, of which the most recent are kept; once
    /// for every row or never. For [`BatchBuilder::push_every`] these are the times of all items
    /// but the last.
    pub fn push_times(&self, batch: &mut Batch, times: &[i64]) -> Result<()> {
        let kept = batch.items.len() - batch.times.len();
        match times.len().checked_sub(kept) {
            Some(old) => batch.times.extend_from_slice(&times[old..]),
            None => {
                let message = format!("{} times for {kept} history items", times.len());
                return Err(Error::mismatch(message));
            }
        }
        Ok(())
    }

    fn push_target(&self, batch: &mut Batch, position: usize, item: ItemId) -> Result<()> {
        let row = batch.rows() as u32 - 1;
        batch.targets.push(Target { row, position: position as u32, item });
        self.push_codes(item, &mut batch.target_codes)?;
        batch.target_code_offsets.push(batch.target_codes.len() as u32);
        Ok(())
    }

    fn push_codes(&self, item: ItemId, out: &mut Vec<Code>) -> Result<()> {
        if let Some(table) = &self.sids {
            let sid = table.first_sid(item).ok_or_else(|| {
                Error::mismatch(format!("item {} has no semantic ID in the table", item.0))
            })?;
            out.extend_from_slice(sid);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::CodeOrder;

    #[test]
    fn keeps_the_most_recent_items_and_marks_positions() {
        let codes: Vec<[Code; 2]> = (0..6).map(|i| [i, 10 + i]).collect();
        let rows = codes.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
        let table = SidTable::new(6, CodeOrder::Sequence, rows).unwrap();
        let builder = BatchBuilder::new(Some(Arc::new(table)), 3);
        let mut batch = Batch::default();
        builder.clear(&mut batch);
        let ids: Vec<ItemId> = (0..6).map(ItemId).collect();
        builder.push_next(&mut batch, &ids[..5], ids[5]).unwrap();
        builder.push_every(&mut batch, &ids).unwrap();
        assert_eq!(batch.rows(), 2);
        assert_eq!(batch.history(0), &ids[2..5]);
        assert_eq!(batch.history(1), &ids[2..5]);
        assert_eq!(batch.item_codes(1), [3, 13]);
        assert_eq!(batch.targets[0], Target { row: 0, position: 3, item: ids[5] });
        let packed: Vec<_> = batch.targets[1..].iter().map(|t| (t.position, t.item.0)).collect();
        assert_eq!(packed, [(1, 3), (2, 4), (3, 5)]);
        assert_eq!(batch.target_sid(3), [5, 15]);
    }

    #[test]
    fn times_are_those_of_the_items_that_are_kept() {
        let builder = BatchBuilder::new(None, 3);
        let mut batch = Batch::default();
        builder.clear(&mut batch);
        let (ids, times): (Vec<ItemId>, Vec<i64>) =
            (0..6).map(|i| (ItemId(i), 10 * i64::from(i))).unzip();
        builder.push_next(&mut batch, &ids[..5], ids[5]).unwrap();
        builder.push_times(&mut batch, &times[..5]).unwrap();
        builder.push_every(&mut batch, &ids).unwrap();
        builder.push_times(&mut batch, &times[..5]).unwrap();
        builder.push_history(&mut batch, &ids[4..5]).unwrap();
        builder.push_times(&mut batch, &times[4..5]).unwrap();
        builder.push_history(&mut batch, &[]).unwrap();
        builder.push_times(&mut batch, &[]).unwrap();
        assert_eq!(batch.times, [20, 30, 40, 20, 30, 40, 40]);
        assert_eq!(batch.items.len(), batch.times.len());
        builder.push_history(&mut batch, &ids[..2]).unwrap();
        let e = builder.push_times(&mut batch, &times[..1]).unwrap_err().to_string();
        assert!(e.contains("1 times for 2 history items"), "{e}");
    }
}
