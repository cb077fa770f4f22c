//! One table for several domains: global numbers of items, one rule for shared IDs.
//!
//! Domains that share a quantizer share prefixes, and items of two domains may have one tuple (GMC,
//! arXiv 2507.12871, reconstruction: no code is public). A rule inside each domain does not tell them
//! apart: the rule must see all domains at once. Items of domain `d` get the numbers from
//! `starts[d]`. Cost `O(N L log N)`.

use super::{Ids, Ordinal, OrdinalOptions};
use sidereal_core::{Code, CodeOrder, Error, ItemId, Result, SidTable};

/// What happens to IDs of several items over all domains.
#[derive(Debug, Clone)]
pub enum DomainRule {
    /// The domain's number stands in front of each ID, which no other domain then has.
    Token,
    /// A digit behind, as [`Ordinal`] gives it over all domains.
    Number(OrdinalOptions),
    /// They stay shared.
    Share,
}

/// The table of several domains.
#[derive(Debug, Clone)]
pub struct Merged {
    /// IDs of all items, by global numbers.
    pub table: SidTable,
    /// First item of each domain, and the number of items in all.
    starts: Vec<u32>,
}

/// Joins tables of domains, in their order; every item has at most one ID.
///
/// Errors: more than `u32::MAX` items, unordered sets, an item with several IDs.
pub fn merge(domains: &[&SidTable], rule: &DomainRule) -> Result<Merged> {
    let mut starts = vec![0u32];
    let (mut ids, mut items) = (Ids::new(), Vec::new());
    for (domain, table) in (0..).zip(domains) {
        if table.order() != CodeOrder::Sequence {
            return Err(Error::mismatch(format!("domain {domain} has unordered IDs")));
        }
        let start = starts.last().copied().unwrap_or(0);
        let next = u32::try_from(table.n_items()).ok().and_then(|n| start.checked_add(n));
        starts.push(next.ok_or_else(|| Error::mismatch("more than 2^32 items in all domains"))?);
        let mut before = None;
        for r in 0..table.n_rows() {
            let item = table.item(r);
            if before.replace(item) == Some(item) {
                return Err(Error::mismatch(format!(
                    "item {} of domain {domain} has several IDs",
                    item.0
                )));
            }
            let token = matches!(rule, DomainRule::Token).then_some(domain);
            ids.extend(token.into_iter().chain(table.sid(r).iter().copied()));
            items.push(ItemId(start + item.0));
        }
    }
    if let DomainRule::Number(options) = rule {
        ids = Ids::from_codes(&Ordinal::new(options.clone()).append(&ids.to_codes()?)?);
    }
    let n = starts.last().copied().unwrap_or(0) as usize;
    let rows = items.iter().copied().zip(ids.iter());
    Ok(Merged { table: SidTable::new(n, CodeOrder::Sequence, rows)?, starts })
}

impl Merged {
    /// Number of domains.
    pub fn domains(&self) -> usize {
        self.starts.len() - 1
    }

    /// The global number of an item of a domain, if there is one.
    pub fn item(&self, domain: usize, item: ItemId) -> Option<ItemId> {
        let (start, end) = (self.starts.get(domain)?, self.starts.get(domain + 1)?);
        let global = start.checked_add(item.0)?;
        (global < *end).then_some(ItemId(global))
    }

    /// The domain of a global item, if there is one.
    pub fn domain_of(&self, item: ItemId) -> Option<usize> {
        let at = self.starts.partition_point(|&start| start <= item.0);
        (at < self.starts.len()).then(|| at - 1)
    }

    /// The IDs of one domain under global numbers: what its trie is made of.
    ///
    /// Errors: no such domain.
    pub fn domain(&self, domain: usize) -> Result<SidTable> {
        if domain >= self.domains() {
            return Err(Error::mismatch(format!("domain {domain} of {}", self.domains())));
        }
        let own = self.starts[domain]..self.starts[domain + 1];
        let rows = (0..self.table.n_rows()).filter(|&r| own.contains(&self.table.item(r).0));
        let rows = rows.map(|r| (self.table.item(r), self.table.sid(r)));
        SidTable::new(self.table.n_items(), CodeOrder::Sequence, rows)
    }

    /// Share of the prefixes of `length` codes that more than one domain uses.
    pub fn shared_prefixes(&self, length: usize) -> f64 {
        let mut used: Vec<(&[Code], usize)> = (0..self.table.n_rows())
            .filter(|&r| self.table.sid(r).len() >= length)
            .filter_map(|r| {
                Some((&self.table.sid(r)[..length], self.domain_of(self.table.item(r))?))
            })
            .collect();
        used.sort_unstable();
        used.dedup();
        let prefixes = used.chunk_by(|a, b| a.0 == b.0);
        let (mut all, mut shared) = (0u64, 0u64);
        prefixes.for_each(|run| {
            all += 1;
            shared += u64::from(run.len() > 1);
        });
        if all == 0 { 0.0 } else { shared as f64 / all as f64 }
    }
}
