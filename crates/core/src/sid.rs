//! The SID table: which items carry which semantic IDs.

use crate::{Code, Error, ItemId, Result, seed};
use std::collections::BTreeMap;

/// Whether the order of the codes of an ID carries meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodeOrder {
    /// Codes are generated from the first to the last.
    #[default]
    Sequence,
    /// The ID is an unordered set; codes are stored ascending (SETRec, REG4Rec).
    Set,
}

/// Finished identifiers of a catalogue.
///
/// A row is one (item, SID) pair, so that several items may share an ID and one item may have
/// several. IDs may differ in length. Everything about the vocabulary is derived from the table:
/// digit count, widths and the version that tries and caches check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidTable {
    n_items: usize,
    /// Item of each row; rows are in item order.
    rows: Vec<ItemId>,
    offsets: Vec<u32>,
    codes: Vec<Code>,
    /// First row of each item, and the end of the last: `n_items + 1` values.
    item_rows: Vec<u32>,
    /// Rows in the order of (codes, item).
    sorted: Vec<u32>,
    widths: Vec<u32>,
    order: CodeOrder,
    version: u64,
}

impl SidTable {
    /// A table over `n_items` items from (item, codes) rows, in any order of items.
    ///
    /// Errors: an item outside the catalogue, an empty ID, the same pair twice.
    pub fn new<'a>(
        n_items: usize,
        order: CodeOrder,
        rows: impl IntoIterator<Item = (ItemId, &'a [Code])>,
    ) -> Result<Self> {
        let mut pairs: Vec<(ItemId, &[Code])> = rows.into_iter().collect();
        pairs.sort_by_key(|p| p.0); // stable: several IDs of an item keep their order
        let mut table = SidTable {
            n_items,
            rows: Vec::with_capacity(pairs.len()),
            offsets: vec![0],
            codes: Vec::new(),
            item_rows: vec![0; n_items + 1],
            sorted: Vec::new(),
            widths: Vec::new(),
            order,
            version: 0,
        };
        for (item, codes) in pairs {
            if item.index() >= n_items {
                return Err(Error::input(format!(
                    "SID table: item {} is outside the catalogue of {n_items}",
                    item.0
                )));
            }
            if codes.is_empty() {
                return Err(Error::input(format!("SID table: item {} has an empty ID", item.0)));
            }
            table.rows.push(item);
            let start = table.codes.len();
            table.codes.extend_from_slice(codes);
            if order == CodeOrder::Set {
                table.codes[start..].sort_unstable();
            }
            table.offsets.push(table.codes.len() as u32);
            table.item_rows[item.index() + 1] += 1;
        }
        for i in 0..n_items {
            table.item_rows[i + 1] += table.item_rows[i];
        }
        table.finish()
    }

    fn finish(mut self) -> Result<Self> {
        let mut sorted: Vec<u32> = (0..self.rows.len() as u32).collect();
        sorted.sort_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            self.sid(a).cmp(self.sid(b)).then(self.rows[a].cmp(&self.rows[b]))
        });
        if let Some(w) = sorted.windows(2).find(|w| {
            let (a, b) = (w[0] as usize, w[1] as usize);
            self.rows[a] == self.rows[b] && self.sid(a) == self.sid(b)
        }) {
            let item = self.rows[w[0] as usize].0;
            return Err(Error::input(format!("SID table: item {item} has the same ID twice")));
        }
        self.sorted = sorted;
        for r in 0..self.rows.len() {
            let (start, end) = (self.offsets[r] as usize, self.offsets[r + 1] as usize);
            for (level, i) in (start..end).enumerate() {
                if level == self.widths.len() {
                    self.widths.push(0);
                }
                self.widths[level] = self.widths[level].max(self.codes[i].saturating_add(1));
            }
        }
        let mut h = seed::key(self.n_items as u64, "sid-table", self.order as u64);
        for r in 0..self.rows.len() {
            h = seed::mix(h ^ u64::from(self.rows[r].0));
            for &c in self.sid(r) {
                h = seed::mix(h.wrapping_add(u64::from(c) + 1));
            }
        }
        self.version = h;
        Ok(self)
    }

    /// Number of items N of the catalogue.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Number of (item, SID) rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether the table has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Codes of a row.
    pub fn sid(&self, row: usize) -> &[Code] {
        &self.codes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// Item of a row.
    pub fn item(&self, row: usize) -> ItemId {
        self.rows[row]
    }

    /// All IDs of an item; most tables give one.
    pub fn sids_of(&self, item: ItemId) -> impl Iterator<Item = &[Code]> {
        self.rows_of(item).map(|r| self.sid(r))
    }

    /// Rows of an item.
    pub fn rows_of(&self, item: ItemId) -> std::ops::Range<usize> {
        let i = item.index();
        self.item_rows[i] as usize..self.item_rows[i + 1] as usize
    }

    /// The first ID of an item.
    pub fn first_sid(&self, item: ItemId) -> Option<&[Code]> {
        self.sids_of(item).next()
    }

    /// Rows in the order of (codes, item): the input of prefix indexes.
    pub fn sorted_rows(&self) -> &[u32] {
        &self.sorted
    }

    /// Items that carry exactly this ID, ascending.
    pub fn items_of(&self, sid: &[Code]) -> impl Iterator<Item = ItemId> {
        let lo = self.sorted.partition_point(|&r| self.sid(r as usize) < sid);
        let hi = self.sorted.partition_point(|&r| self.sid(r as usize) <= sid);
        self.sorted[lo..hi].iter().map(|&r| self.rows[r as usize])
    }

    /// Codes in use at each level: one more than the largest code there.
    pub fn widths(&self) -> &[u32] {
        &self.widths
    }

    /// The largest width: the vocabulary of models whose levels share one (GRID's V).
    pub fn vocabulary(&self) -> u32 {
        self.widths.iter().copied().max().unwrap_or(0)
    }

    /// Length of the longest ID.
    pub fn max_len(&self) -> usize {
        self.widths.len()
    }

    /// The length of all IDs, when they agree.
    pub fn fixed_len(&self) -> Option<usize> {
        let l = self.max_len();
        (0..self.n_rows()).all(|r| self.sid(r).len() == l).then_some(l)
    }

    /// Whether the order of codes carries meaning.
    pub fn order(&self) -> CodeOrder {
        self.order
    }

    /// Hash of the content: equal tables have equal versions.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// `{item: ["<a_1>", "<b_2>"]}` as LC-Rec, LETTER and MiniOneRec write it; the letter is the
    /// level (`a` to `z`, then `l26`, `l27`, ...). Items with several IDs are refused, because the
    /// format has room for one.
    pub fn to_index_json(&self) -> Result<serde_json::Value> {
        let mut map = serde_json::Map::new();
        for r in 0..self.n_rows() {
            let tokens: Vec<_> =
                self.sid(r).iter().enumerate().map(|(l, &c)| token(l, c).into()).collect();
            let key = self.rows[r].0.to_string();
            if map.insert(key, serde_json::Value::Array(tokens)).is_some() {
                return Err(Error::mismatch(format!(
                    "item {} has several IDs, which the index JSON cannot hold",
                    self.rows[r].0
                )));
            }
        }
        Ok(serde_json::Value::Object(map))
    }

    /// Reads what [`SidTable::to_index_json`] writes.
    pub fn from_index_json(n_items: usize, index: &BTreeMap<String, Vec<String>>) -> Result<Self> {
        let mut rows = Vec::with_capacity(index.len());
        for (key, tokens) in index {
            let item = key.parse().map(ItemId).map_err(|_| {
                Error::input(format!("SID index: item key `{key}` is not a number"))
            })?;
            let codes: Option<Vec<Code>> =
                tokens.iter().enumerate().map(|(l, t)| parse_token(l, t)).collect();
            let codes = codes.ok_or_else(|| {
                Error::input(format!(
                    "SID index: item {key} has tokens {tokens:?}; expected `<a_1>`, `<b_2>`, ..."
                ))
            })?;
            rows.push((item, codes));
        }
        SidTable::new(n_items, CodeOrder::Sequence, rows.iter().map(|(i, c)| (*i, c.as_slice())))
    }
}

fn letter(level: usize) -> String {
    if level < 26 { ((b'a' + level as u8) as char).to_string() } else { format!("l{level}") }
}

/// The token of a code, as in `<a_17>`.
pub fn token(level: usize, code: Code) -> String {
    format!("<{}_{code}>", letter(level))
}

/// The code of a token at its level, as in 17 of `<a_17>` at level 0.
pub fn parse_token(level: usize, token: &str) -> Option<Code> {
    let inner = token.strip_prefix('<')?.strip_suffix('>')?;
    inner.strip_prefix(&letter(level))?.strip_prefix('_')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(rows: &[(u32, Vec<Code>)], n: usize) -> Result<SidTable> {
        SidTable::new(n, CodeOrder::Sequence, rows.iter().map(|(i, c)| (ItemId(*i), &c[..])))
    }

    #[test]
    fn shared_several_and_variable_length_ids() {
        let t =
            table(&[(2, vec![1]), (0, vec![1, 5]), (1, vec![1]), (1, vec![0, 0, 9])], 4).unwrap();
        assert_eq!(t.items_of(&[1]).collect::<Vec<_>>(), [ItemId(1), ItemId(2)]);
        assert_eq!(t.sids_of(ItemId(1)).count(), 2);
        assert_eq!(t.sids_of(ItemId(3)).count(), 0);
        assert_eq!(t.widths(), [2, 6, 10]);
        assert_eq!((t.vocabulary(), t.max_len(), t.fixed_len()), (10, 3, None));
    }

    #[test]
    fn refuses_what_no_catalogue_has() {
        assert!(table(&[(4, vec![1])], 4).unwrap_err().to_string().contains("item 4"));
        assert!(table(&[(0, vec![])], 1).unwrap_err().to_string().contains("empty"));
        assert!(table(&[(0, vec![1]), (0, vec![1])], 1).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn sets_ignore_order() {
        let set =
            |c: &[Code]| SidTable::new(1, CodeOrder::Set, [(ItemId(0), c)]).unwrap().version();
        assert_eq!(set(&[3, 1, 2]), set(&[1, 2, 3]));
    }

    proptest! {
        #[test]
        fn index_json_round_trips(codes in proptest::collection::vec(
            proptest::collection::vec(0u32..300, 1..30), 1..40)) {
            let rows: Vec<_> = codes.into_iter().enumerate().map(|(i, c)| (i as u32, c)).collect();
            let t = table(&rows, rows.len()).unwrap();
            let json = serde_json::from_value(t.to_index_json().unwrap()).unwrap();
            let back = SidTable::from_index_json(rows.len(), &json).unwrap();
            prop_assert_eq!(t.version(), back.version());
            for (i, c) in &rows {
                prop_assert!(t.items_of(c).any(|x| x.0 == *i));
                prop_assert_eq!(t.first_sid(ItemId(*i)), Some(&c[..]));
            }
        }
    }
}
