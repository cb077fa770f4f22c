//! How users of the synthetic world choose, and the exact probability of what comes next.
//!
//! **State.** Every item hangs in one leaf, so a history shows the current leaf `l` (of the last
//! item) and the direction of travel: that of the latest step between neighbours on the ring of
//! styles, since the user came to this category; none before the first such step.
//!
//! **Drift.** The next leaf is drawn from
//! `P(m | l, dir) = stay [m = l] + step (g [m = l + dir] + (1 - g) [m = l - dir])
//!  + jump w_m / W(department of l) [same department] + rest w_m / W`
//! with `g` the momentum (1/2 without a direction), `w` Zipf weights of leaves in a drawn order, and
//! `rest = 1 - stay - step - jump`. The first leaf is drawn from `w`.
//!
//! **Choice.** Inside a leaf the item of popularity rank r has weight `(r + 1)^-item_skew`. Nobody
//! takes an item twice: seen items have weight 0, and leaves without an unseen item drop out, with
//! the rest renormalised. If nothing else is left, the user jumps anywhere.
//!
//! Both functions that use this definition, the sampler (rejection, a few operations an item) and
//! [`World::next_distribution`] (dense, O(N + history)), stand side by side below, and a test holds
//! them against each other.

use super::SyntheticOptions;
use super::catalogue::{Tree, shuffle};
use rand::Rng;
use sidereal_core::{Error, ItemId, ItemTable, Result, Sequences, StringColumn, seed};
use std::ops::Range;

/// A world: its tree and how its users choose.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    options: SyntheticOptions,
    tree: Tree,
    /// Weight of each popularity rank inside a leaf.
    item_weights: Vec<f64>,
    /// Running sums of leaf weights, one more than leaves.
    leaf_sums: Vec<f64>,
}

/// Way along the ring of styles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// A part of the drift: the leaves it leads to, by their weights.
struct Part {
    probability: f64,
    leaves: Range<usize>,
}

impl World {
    /// Builds the world; fails when an option is outside its range.
    pub fn new(options: SyntheticOptions) -> Result<Self> {
        options.validate()?;
        let tree = Tree::new(&options);
        let zipf = |rank: usize, skew: f64| (rank as f64 + 1.0).powf(-skew);
        let item_weights =
            (0..options.leaf_items).map(|r| zipf(r, options.item_skew)).collect::<Vec<_>>();
        let mut ranks: Vec<usize> = (0..tree.n_leaves()).collect();
        shuffle(&mut ranks, &mut seed::stream(options.world, "synthetic-leaves", 0));
        let mut leaf_sums = Vec::with_capacity(ranks.len() + 1);
        let mut sum = 0.0;
        leaf_sums.push(sum);
        for rank in ranks {
            sum += zipf(rank, options.leaf_skew);
            leaf_sums.push(sum);
        }
        Ok(World { options, tree, item_weights, leaf_sums })
    }

    /// The options it was built from.
    pub fn options(&self) -> &SyntheticOptions {
        &self.options
    }

    /// Where the items hang.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The catalogue, N items.
    pub fn items(&self) -> Result<ItemTable> {
        self.tree.items(self.options.world)
    }

    /// Source ids of the users.
    pub fn user_ids(&self) -> StringColumn {
        let width = self.options.users.to_string().len();
        (0..self.options.users).map(|u| format!("user-{u:0width$}")).collect()
    }

    /// Histories of all users, with times. Each user draws from an own stream, so the first U users
    /// of a larger world are the same users.
    pub fn interactions(&self) -> Result<Sequences> {
        const START: f64 = 1_577_836_800.0; // 2020-01-01, in Unix seconds
        const DAY: f64 = 86_400.0;
        let o = &self.options;
        let mut offsets = Vec::with_capacity(o.users + 1);
        offsets.push(0);
        let (mut items, mut times) = (Vec::new(), Vec::new());
        for u in 0..o.users {
            let mut rng = seed::stream(o.world, "synthetic-user", u as u64);
            let spread = (o.max_length - o.min_length) as u64;
            let length = o.min_length + rng.random_range(0..=spread) as usize;
            let start = items.len();
            for _ in 0..length {
                let Some(item) = self.draw_next(&items[start..], &mut rng) else { break };
                items.push(item);
            }
            // Times have their own stream: they tell nothing about the items. Users come through
            // a year and wait about five days between interactions.
            let mut rng = seed::stream(o.world, "synthetic-times", u as u64);
            let mut now = START + 365.0 * DAY * rng.random::<f64>();
            for _ in start..items.len() {
                times.push(now as i64);
                now += 1.0 - 5.0 * DAY * (1.0 - rng.random::<f64>()).ln();
            }
            offsets.push(items.len() as u64);
        }
        Sequences::new(offsets, items, Some(times))
    }

    /// Exact `P(next item | history)` of all N items. Sums to 1, or to 0 once every item was seen.
    /// Fails when the history holds an item outside the catalogue. O(N + history).
    pub fn next_distribution(&self, history: &[ItemId]) -> Result<Vec<f64>> {
        let mut out = Vec::new();
        self.fill_next_distribution(history, &mut out)?;
        Ok(out)
    }

    /// [`World::next_distribution`] into a buffer that is kept between calls.
    pub fn fill_next_distribution(&self, history: &[ItemId], out: &mut Vec<f64>) -> Result<()> {
        self.check(history)?;
        let n_leaves = self.tree.n_leaves();
        let mut drift = vec![0.0; n_leaves];
        for part in self.drift(history) {
            let total = self.weight(&part.leaves);
            for leaf in part.leaves {
                drift[leaf] += part.probability * self.weight(&(leaf..leaf + 1)) / total;
            }
        }
        out.clear();
        out.resize(self.tree.n_items(), 1.0);
        for item in history {
            out[item.index()] = 0.0;
        }
        // `out` now marks the unseen; each leaf shares its probability among them.
        let mut mass = self.share(out, &drift);
        if mass == 0.0 {
            let anywhere: Vec<_> = (0..n_leaves).map(|l| self.weight(&(l..l + 1))).collect();
            mass = self.share(out, &anywhere);
        }
        if mass > 0.0 {
            out.iter_mut().for_each(|p| *p = p.max(0.0) / mass);
        } else {
            out.fill(0.0);
        }
        Ok(())
    }

    /// Shares the leaves' probability among items marked by a value that is not 0; unreached ones
    /// are marked -1 for another try. Returns the probability of leaves that had such items.
    fn share(&self, marked: &mut [f64], leaves: &[f64]) -> f64 {
        let mut mass = 0.0;
        for (leaf, &probability) in leaves.iter().enumerate() {
            let members = self.tree.members(leaf);
            let unseen: f64 = members
                .iter()
                .zip(&self.item_weights)
                .filter(|(i, _)| marked[i.index()] != 0.0)
                .map(|(_, w)| w)
                .sum();
            if unseen == 0.0 {
                continue;
            }
            mass += probability;
            for (i, w) in members.iter().zip(&self.item_weights) {
                let p = &mut marked[i.index()];
                if *p != 0.0 {
                    *p = if probability > 0.0 { probability * w / unseen } else { -1.0 };
                }
            }
        }
        mass
    }

    /// Draws the next item of a user; nothing once every item was seen. Items of the history must
    /// be in the catalogue.
    fn draw_next(&self, history: &[ItemId], rng: &mut impl Rng) -> Option<ItemId> {
        let parts = self.drift(history);
        // Drawing again when the leaf has nothing unseen is drawing from the renormalised drift.
        // Whether 64 draws fail does not depend on what a success would give, so the fall-back to
        // the dense distribution leaves the probabilities exact.
        for _ in 0..64 {
            let mut u: f64 = rng.random();
            let mut chosen = &parts[parts.len() - 1];
            for part in &parts {
                if u < part.probability {
                    chosen = part;
                    break;
                }
                u -= part.probability;
            }
            if chosen.probability == 0.0 {
                continue; // rounding led past the last part that can happen
            }
            let leaf = self.draw_leaf(&chosen.leaves, rng.random());
            if let Some(item) = self.draw_member(leaf, history, rng.random()) {
                return Some(item);
            }
        }
        let p = self.next_distribution(history).ok()?;
        let mut u: f64 = rng.random();
        let mut last = None;
        for (i, p) in p.into_iter().enumerate().filter(|(_, p)| *p > 0.0) {
            last = Some(ItemId(i as u32));
            if u < p {
                break;
            }
            u -= p;
        }
        last
    }

    fn draw_leaf(&self, leaves: &Range<usize>, u: f64) -> usize {
        let goal = self.leaf_sums[leaves.start] + u * self.weight(leaves);
        let after = self.leaf_sums.partition_point(|&s| s <= goal);
        after.saturating_sub(1).clamp(leaves.start, leaves.end - 1)
    }

    fn draw_member(&self, leaf: usize, history: &[ItemId], u: f64) -> Option<ItemId> {
        let unseen = || {
            let members = self.tree.members(leaf).iter().zip(&self.item_weights);
            members.filter(|(i, _)| !history.contains(i))
        };
        let mut u = u * unseen().map(|(_, w)| w).sum::<f64>();
        let mut last = None;
        for (&item, w) in unseen() {
            last = Some(item);
            if u < *w {
                break;
            }
            u -= w;
        }
        last
    }

    /// The parts of the drift after a history, in a fixed order.
    fn drift(&self, history: &[ItemId]) -> Vec<Part> {
        let o = &self.options;
        let all = 0..self.tree.n_leaves();
        let Some(&last) = history.last() else {
            return vec![Part { probability: 1.0, leaves: all }];
        };
        let leaf = self.tree.leaf(last);
        let up = match self.direction(history) {
            Some(Direction::Up) => o.momentum,
            Some(Direction::Down) => 1.0 - o.momentum,
            None => 0.5,
        };
        let only = |leaf: usize| leaf..leaf + 1;
        let department = self.tree.leaves_of_department(self.tree.department(leaf));
        let rest = (1.0 - o.stay - o.step - o.jump).max(0.0);
        vec![
            Part { probability: o.stay, leaves: only(leaf) },
            Part { probability: o.step * up, leaves: only(self.neighbour(leaf, Direction::Up)) },
            Part {
                probability: o.step * (1.0 - up),
                leaves: only(self.neighbour(leaf, Direction::Down)),
            },
            Part { probability: o.jump, leaves: department },
            Part { probability: rest, leaves: all },
        ]
    }

    /// Direction of the latest step inside the category of the last item.
    fn direction(&self, history: &[ItemId]) -> Option<Direction> {
        // On rings of one or two leaves both ways lead to the same leaf.
        if self.tree.n_styles() < 3 {
            return None;
        }
        for pair in history.windows(2).rev() {
            let (from, to) = (self.tree.leaf(pair[0]), self.tree.leaf(pair[1]));
            if self.tree.category(from) != self.tree.category(to) {
                return None;
            }
            for direction in [Direction::Up, Direction::Down] {
                if to == self.neighbour(from, direction) {
                    return Some(direction);
                }
            }
        }
        None
    }

    fn neighbour(&self, leaf: usize, direction: Direction) -> usize {
        let ring = self.tree.n_styles();
        let first = leaf / ring * ring;
        let by = match direction {
            Direction::Up => 1,
            Direction::Down => ring - 1,
        };
        first + (leaf - first + by) % ring
    }

    fn weight(&self, leaves: &Range<usize>) -> f64 {
        self.leaf_sums[leaves.end] - self.leaf_sums[leaves.start]
    }

    fn check(&self, history: &[ItemId]) -> Result<()> {
        match history.iter().find(|i| i.index() >= self.tree.n_items()) {
            None => Ok(()),
            Some(item) => Err(Error::mismatch(format!(
                "the history holds item {}, outside the world of {} items",
                item.0,
                self.tree.n_items()
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
