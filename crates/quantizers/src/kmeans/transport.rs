//! The cheapest assignment of rows to codes whose sizes lie between bounds, exactly.
//!
//! Minimise `sum_i cost[i, s_i]` with `least <= |{i: s_i = k}| <= most`: a transport problem, which
//! is a min-cost flow (Bradley, Bennett and Demiriz 2000 put it into k-means). Rows of one code are
//! alike but for their costs, so paths are looked for between codes: the arc from a to b costs
//! `min over rows i of a: cost[i, b] - cost[i, a]`, and a node "sink" joins the codes that may
//! still grow to those that may shrink. From an assignment that is the cheapest for its own sizes,
//! successive shortest paths (Dijkstra on costs reduced by prices) reach the optimum.
//!
//! Prices `p_k` are the duals of the sizes: every row has the code of its least
//! `cost[i, k] + p_k`, `p_k > 0` only where a code is full and `p_k < 0` only where it is at its
//! least. Prices of a similar problem are a valid start and spare most paths.
//!
//! Cost: `N K` to start, then `K^2 + K N / K` a path; there are at most as many paths as rows in
//! excess. Memory beside the costs: three words a row and `K^2` arcs.

use sidereal_core::{Code, Error, Result};

/// Bounds on the number of rows of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub least: usize,
    pub most: usize,
}

const NONE: u32 = u32::MAX;

/// The cheapest change from one code to another, and the row that makes it.
#[derive(Clone, Copy)]
struct Arc {
    cost: f64,
    row: u32,
}

const NO_ARC: Arc = Arc { cost: f64::INFINITY, row: NONE };

struct Transport<'a> {
    costs: &'a [f32],
    k: usize,
    sizes: Sizes,
    codes: &'a mut [Code],
    prices: &'a mut [f64],
    /// Rows of a code as a list through the rows.
    head: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    /// Rows of a code now, and how many of them the sink has taken.
    size: Vec<usize>,
    taken: Vec<usize>,
    arcs: Vec<Arc>,
    distance: Vec<f64>,
    from: Vec<usize>,
    settled: Vec<bool>,
}

/// Fills `codes` (one a row of `costs`, which is `N x K`); `prices` (K) are read and improved.
///
/// Errors: bounds that no assignment meets.
pub(crate) fn assign(
    costs: &[f32],
    sizes: Sizes,
    prices: &mut [f64],
    codes: &mut [Code],
) -> Result<()> {
    let (n, k) = (codes.len(), prices.len());
    if sizes.least.saturating_mul(k) > n || sizes.most.saturating_mul(k) < n {
        return Err(Error::mismatch(format!(
            "{n} rows do not fit {k} codes of {} to {} rows",
            sizes.least, sizes.most
        )));
    }
    let mut t = Transport {
        costs,
        k,
        sizes,
        codes,
        prices,
        head: vec![NONE; k],
        next: vec![NONE; n],
        previous: vec![NONE; n],
        size: vec![0; k],
        taken: vec![0; k],
        arcs: vec![NO_ARC; k * k],
        distance: vec![0.0; k + 1],
        from: vec![0; k + 1],
        settled: vec![false; k + 1],
    };
    t.start();
    while t.augment()? {}
    Ok(())
}

impl Transport<'_> {
    fn cost(&self, row: u32, code: usize) -> f64 {
        f64::from(self.costs[row as usize * self.k + code])
    }

    /// Every row to its cheapest code at the prices.
    fn start(&mut self) {
        let k = self.k;
        for row in (0..self.codes.len()).rev() {
            let costs = &self.costs[row * k..(row + 1) * k];
            let priced = costs.iter().zip(&*self.prices).map(|(c, p)| f64::from(*c) + p);
            let least =
                |best: (usize, f64), now: (usize, f64)| if now.1 < best.1 { now } else { best };
            let (code, _) = priced.enumerate().fold((0, f64::INFINITY), least);
            self.put(row as u32, code);
        }
        for code in 0..k {
            let Sizes { least, most } = self.sizes;
            self.taken[code] = match self.prices[code] {
                p if p > 0.0 => most,
                p if p < 0.0 => least,
                _ => self.size[code].clamp(least, most),
            };
            let mut row = self.head[code];
            while row != NONE {
                self.offer(code, row);
                row = self.next[row as usize];
            }
        }
    }

    fn put(&mut self, row: u32, code: usize) {
        let head = std::mem::replace(&mut self.head[code], row);
        self.next[row as usize] = head;
        self.previous[row as usize] = NONE;
        if head != NONE {
            self.previous[head as usize] = row;
        }
        self.codes[row as usize] = code as Code;
        self.size[code] += 1;
    }

    fn remove(&mut self, row: u32, code: usize) {
        let (before, after) = (self.previous[row as usize], self.next[row as usize]);
        match before {
            NONE => self.head[code] = after,
            b => self.next[b as usize] = after,
        }
        if after != NONE {
            self.previous[after as usize] = before;
        }
        self.size[code] -= 1;
    }

    /// A row of `code` may be the cheapest to change.
    fn offer(&mut self, code: usize, row: u32) {
        let own = self.cost(row, code);
        let costs = &self.costs[row as usize * self.k..][..self.k];
        let arcs = &mut self.arcs[code * self.k..(code + 1) * self.k];
        for (arc, cost) in arcs.iter_mut().zip(costs) {
            let cost = f64::from(*cost) - own;
            if cost < arc.cost || (cost == arc.cost && row < arc.row) {
                *arc = Arc { cost, row };
            }
        }
    }

    /// Looks for the arcs from `code` again that `row`, which has left, was the cheapest of.
    fn replace(&mut self, code: usize, row: u32) {
        let k = self.k;
        let lost: Vec<usize> = (0..k).filter(|b| self.arcs[code * k + b].row == row).collect();
        lost.iter().for_each(|b| self.arcs[code * k + b] = NO_ARC);
        let mut row = self.head[code];
        while row != NONE && !lost.is_empty() {
            let own = self.cost(row, code);
            for &b in &lost {
                let cost = self.cost(row, b) - own;
                let arc = &mut self.arcs[code * k + b];
                if cost < arc.cost || (cost == arc.cost && row < arc.row) {
                    *arc = Arc { cost, row };
                }
            }
            row = self.next[row as usize];
        }
    }

    /// Rows that a node must pass on (above 0) or lacks (below 0); the last node is the sink.
    fn excess(&self, node: usize) -> i64 {
        if node < self.k {
            return self.size[node] as i64 - self.taken[node] as i64;
        }
        self.taken.iter().sum::<usize>() as i64 - self.codes.len() as i64
    }

    /// Moves one row's worth along the shortest path; `false` when nothing is in excess.
    fn augment(&mut self) -> Result<bool> {
        let (nodes, sink) = (self.k + 1, self.k);
        let excess: Vec<i64> = (0..nodes).map(|v| self.excess(v)).collect();
        if excess.iter().all(|&e| e <= 0) {
            return Ok(false);
        }
        self.settled.fill(false);
        self.from.fill(usize::MAX);
        for (d, e) in self.distance.iter_mut().zip(&excess) {
            *d = if *e > 0 { 0.0 } else { f64::INFINITY };
        }
        let end = loop {
            let open = (0..nodes).filter(|&v| !self.settled[v] && self.distance[v].is_finite());
            let nearer = |best: Option<usize>, v: usize| match best {
                Some(b) if self.distance[b] <= self.distance[v] => Some(b),
                _ => Some(v),
            };
            let Some(u) = open.fold(None, nearer) else {
                return Err(Error::mismatch("constrained assignment: no way out of a full code"));
            };
            if excess[u] < 0 {
                break u;
            }
            self.settled[u] = true;
            self.relax(u);
        };
        self.raise_prices(end);
        // From the end back to the start.
        let (mut v, mut moves) = (end, Vec::new());
        while self.from[v] != usize::MAX {
            let u = self.from[v];
            match (u == sink, v == sink) {
                (true, _) => self.taken[v] -= 1,
                (_, true) => self.taken[u] += 1,
                _ => moves.push((u, v, self.arcs[u * self.k + v].row)),
            }
            v = u;
        }
        for &(a, b, row) in &moves {
            self.remove(row, a);
            self.put(row, b);
        }
        for &(a, _, row) in &moves {
            self.replace(a, row);
        }
        for &(_, b, row) in &moves {
            self.offer(b, row);
        }
        Ok(true)
    }

    fn relax(&mut self, u: usize) {
        let (k, sink, near) = (self.k, self.k, self.distance[u]);
        let Sizes { least, most } = self.sizes;
        let price = if u == sink { 0.0 } else { self.prices[u] };
        for v in 0..=k {
            let reduced = match (u == sink, v == sink) {
                (true, true) => continue,
                (true, _) if self.taken[v] > least => self.prices[v],
                (_, true) if self.taken[u] < most => -price,
                (true, _) | (_, true) => continue,
                _ => self.arcs[u * k + v].cost + self.prices[v] - price,
            };
            // Rounding may leave a hair below zero.
            let far = near + reduced.max(0.0);
            if !self.settled[v] && far < self.distance[v] {
                self.distance[v] = far;
                self.from[v] = u;
            }
        }
    }

    /// Lowers the price of every node by its distance, at most that of `end`, with the sink at 0.
    fn raise_prices(&mut self, end: usize) {
        let limit = self.distance[end];
        let sink = self.distance[self.k].min(limit);
        for (p, d) in self.prices.iter_mut().zip(&self.distance) {
            *p += sink - d.min(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn total(costs: &[f32], k: usize, codes: &[Code]) -> f64 {
        codes.iter().enumerate().map(|(i, &c)| f64::from(costs[i * k + c as usize])).sum()
    }

    /// The cheapest of all assignments with sizes inside the bounds.
    fn exhaustive(costs: &[f32], n: usize, k: usize, sizes: Sizes) -> f64 {
        let mut best = f64::INFINITY;
        for number in 0..k.pow(n as u32) {
            let codes: Vec<Code> = (0..n).map(|i| (number / k.pow(i as u32) % k) as Code).collect();
            let size = |c: usize| codes.iter().filter(|&&x| x as usize == c).count();
            if (0..k).all(|c| (sizes.least..=sizes.most).contains(&size(c))) {
                best = best.min(total(costs, k, &codes));
            }
        }
        best
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn as_cheap_as_the_best_of_all(
            n in 1usize..8, k in 1usize..4, slack in 0usize..3, less in 0usize..3, whole: bool,
            seed in proptest::collection::vec(0f32..10.0, 24 * 2)) {
            let costs: Vec<f32> = seed.iter().map(|c| if whole { c.floor() } else { *c }).collect();
            let (least, most) = ((n / k).saturating_sub(less), n.div_ceil(k) + slack);
            let sizes = Sizes { least, most };
            let (mut prices, mut codes) = (vec![0.0; k], vec![0; n]);
            let first = &costs[..n * k];
            assign(first, sizes, &mut prices, &mut codes).unwrap();
            let best = exhaustive(first, n, k, sizes);
            prop_assert!((total(first, k, &codes) - best).abs() < 1e-5, "{codes:?} {best}");
            for (c, p) in prices.iter().enumerate() {
                let size = codes.iter().filter(|&&x| x as usize == c).count();
                prop_assert!((least..=most).contains(&size));
                prop_assert!(*p <= 1e-9 || size == most, "price {p} of size {size}");
                prop_assert!(*p >= -1e-9 || size == least, "price {p} of size {size}");
            }
            // The prices of one problem are a valid start of another.
            let second = &costs[24..24 + n * k];
            assign(second, sizes, &mut prices, &mut codes).unwrap();
            let best = exhaustive(second, n, k, sizes);
            prop_assert!((total(second, k, &codes) - best).abs() < 1e-5, "{codes:?} {best}");
        }
    }

    #[test]
    fn equal_costs_and_bounds_that_cannot_be_met() {
        let (mut prices, mut codes) = (vec![0.0; 3], vec![0; 100]);
        let costs = vec![1.0; 300];
        assign(&costs, Sizes { least: 33, most: 34 }, &mut prices, &mut codes).unwrap();
        let size = |c| codes.iter().filter(|&&x| x == c).count();
        assert_eq!([size(0) + size(1) + size(2), size(0).min(size(1)).min(size(2))], [100, 33]);
        let sizes = Sizes { least: 1, most: 33 };
        assert!(assign(&costs, sizes, &mut prices, &mut codes).is_err());
    }
}
