//! Diverse beam search (Vijayakumar et al., arXiv 1610.02424). The form is that of Hugging Face's
//! group beam search, whose code was read; the paper itself is from memory, unverified.
//!
//! The `width` places of a request are cut into groups of equal size, each a beam of its own. At
//! every level the groups choose one after the other; an extension by code c counts
//!
//! `s(p) + log p(c) - diversity * (times the groups before chose c at this level)`,
//!
//! the Hamming form of the penalty, and a group's sums keep their penalties from level to level.
//! The first group is thus a plain beam of `width / groups`; without a penalty all groups are.
//!
//! The result has the identifiers of all groups. One that several groups found is there once, with
//! the first group as its provenance, so there can be fewer than `width`. It is ranked by the sum
//! without penalties: the penalty says where to look, not what is good. Each group brings its
//! `width / groups` best finished ones, as `beam` would.
//!
//! Deviations from Hugging Face: its scores keep the penalties, and a sequence that two groups found
//! is there twice.
//!
//! Rules of [`beam`](crate::beam) hold for equal scores, identifiers that go on, probabilities of 0
//! and lengths. A code means another thing at every level and behind every prefix; the penalty looks
//! at the number alone, as the original does with words.
//!
//! Cost a level: at most `width` rows of the scorer a request (prefixes that groups share count
//! once), and the comparisons of `beam`.

use crate::frontier::{Child, Choices, Frontier, Grown};
use crate::ranking::{Finished, Found, PerRequest, Ranking};
use crate::top::{Candidate, Top};
use crate::{Branch, CodeScorer, Constraint, Decoder, Hypothesis, Provenance, ScoreRule};
use sidereal_core::{Catalog, Code, Entry, Error, Result, Run};

sidereal_core::options! {
    /// Options of diverse beam search.
    pub struct DiverseBeamOptions {
        /// Prefixes kept a level over all groups, and most hypotheses returned, 1 to 1048576; a
        /// multiple of `groups`.
        pub width: u32 = 50,
        /// Groups, 1 (a plain beam) to width.
        pub groups: u32 = 5,
        /// What a code loses for each time a group before chose it at the level, 0 and up, in nats.
        /// The paper finds 0.2 to 0.8 good.
        pub diversity: f64 = 0.5,
        /// What ranks: `full` sums log-probabilities over the whole vocabulary of each level,
        /// `masked` over the allowed codes only.
        pub score: ScoreRule = ScoreRule::Full,
        /// Exponent of the length by which finished sums are divided, 0 (off) to 10.
        pub length_normalization: f64 = 0.0,
    }
}

/// Beams that avoid the codes of the beams before them.
#[derive(Debug, Clone)]
pub struct DiverseBeam {
    ranking: Ranking,
    groups: usize,
    diversity: f64,
}

impl DiverseBeam {
    /// Errors: an option outside its range, or a width that the groups do not divide.
    pub fn new(options: DiverseBeamOptions) -> Result<Self> {
        let DiverseBeamOptions { width, groups, diversity, score, length_normalization } = options;
        let ranking = Ranking::new(width, score, length_normalization)?;
        if groups == 0 || width % groups != 0 {
            return Err(Error::config(
                "decoder.groups",
                format!("got {groups}; allowed: a divisor of decoder.width = {width}"),
            ));
        }
        if !(diversity >= 0.0 && diversity.is_finite()) {
            return Err(Error::config(
                "decoder.diversity",
                format!("got {diversity}; allowed: 0 and up"),
            ));
        }
        Ok(DiverseBeam { ranking, groups: groups as usize, diversity })
    }

    /// Finished identifiers of each group.
    fn search(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: PerRequest<'_>,
        run: &Run<'_>,
    ) -> Result<Vec<Finished>> {
        let mut finished: Vec<Finished> = (0..self.groups).map(|_| Finished::default()).collect();
        let mut frontier = Frontier::new(scorer, constraints, self.ranking.width)?;
        let place = |node: usize, group: usize| Place { node, group, penalty: 0.0 };
        let groups = |node| (0..self.groups).map(move |group| place(node, group));
        let mut places: Vec<Place> = (0..frontier.requests()).flat_map(groups).collect();
        let mut next_places: Vec<Place> = Vec::new();
        let (mut choices, mut extensions) = (Choices::default(), Extensions::default());
        let mut top = Top::new(self.ranking.width / self.groups);
        let (mut times, mut chosen): (Vec<u32>, Vec<Chosen>) = (Vec::new(), Vec::new());
        while frontier.advance(scorer, run)? {
            next_places.clear();
            let mut done = 0;
            while done < places.len() {
                let request = frontier.nodes()[places[done].node].request;
                let of_request = |p: &&Place| frontier.nodes()[p.node].request == request;
                let n = places[done..].iter().take_while(of_request).count();
                let own = &mut places[done..done + n];
                done += n;
                extensions.fill(&frontier, own[0].node, own[n - 1].node, &mut choices)?;
                own.sort_unstable_by_key(|p| (p.group, p.node));
                times.clear();
                chosen.clear();
                for group in own.chunk_by(|a, b| a.group == b.group) {
                    top.clear();
                    for place in group {
                        for child in extensions.of(place.node) {
                            self.offer(&mut top, place, child, &times);
                        }
                    }
                    let group = group[0].group;
                    let best = top.in_code_order();
                    chosen.extend(best.iter().map(|c| Chosen { group, candidate: *c }));
                    for c in best {
                        let code = c.code as usize;
                        times.resize(times.len().max(code + 1), 0);
                        times[code] += 1;
                    }
                }
                chosen.sort_unstable_by_key(|c| (c.candidate.row, c.candidate.code, c.group));
                for same in chosen.chunk_by(|a, b| a.extension() == b.extension()) {
                    let Candidate { row, code, state, full, masked, .. } = same[0].candidate;
                    let child = Child { branch: Branch { code, state }, full, masked };
                    let grown = frontier.grow(row as usize, &child)?;
                    let accepted = match grown {
                        Grown::Leaf => true,
                        Grown::Node(_) => frontier.grown().is_some_and(|node| node.ends),
                        Grown::Dead => false,
                    };
                    for c in same {
                        if accepted {
                            self.finish(&mut finished[c.group], request, frontier.path(), c);
                        }
                        if let Grown::Node(node) = grown {
                            let penalty = self.ranking.sum(full, masked) - c.candidate.score;
                            let (node, group) = (node as usize, c.group);
                            next_places.push(Place { node, group, penalty });
                        }
                    }
                }
            }
            std::mem::swap(&mut places, &mut next_places);
        }
        Ok(finished)
    }

    /// Puts an extension of a place among the candidates of its group.
    fn offer(&self, top: &mut Top, place: &Place, child: &Child, times: &[u32]) {
        let Child { branch: Branch { code, state }, full, masked } = *child;
        let before = times.get(code as usize).copied().unwrap_or(0);
        let penalty = place.penalty + self.diversity * f64::from(before);
        let score = self.ranking.sum(full, masked) - penalty;
        if top.admits(score) {
            top.push(Candidate { score, row: place.node as u32, code, state, full, masked });
        }
    }

    fn finish(&self, finished: &mut Finished, request: u32, sid: &[Code], c: &Chosen) {
        let Candidate { full, masked, .. } = c.candidate;
        let score = self.ranking.finished_score(full, masked, sid.len());
        let provenance = Provenance::Group { group: c.group as u32 };
        finished.push_found(request, sid, Found { score, full, masked, provenance });
    }

    /// One list a request from the lists of the groups.
    fn merge(&self, finished: Vec<Finished>, requests: usize) -> Vec<Vec<Hypothesis>> {
        let of_group = Ranking { width: self.ranking.width / self.groups, ..self.ranking };
        let mut merged: Vec<Vec<Hypothesis>> = vec![Vec::new(); requests];
        for group in finished {
            for (all, own) in merged.iter_mut().zip(group.into_lists(&of_group, requests, None)) {
                all.extend(own);
            }
        }
        for list in &mut merged {
            // Stable sorts: of equal codes, the first group stands first.
            list.sort_by(|a, b| a.codes.cmp(&b.codes));
            list.dedup_by(|later, first| later.codes == first.codes);
            list.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        merged
    }
}

/// A group's hypothesis at a node, with its penalties so far.
#[derive(Debug, Clone, Copy)]
struct Place {
    node: usize,
    group: usize,
    penalty: f64,
}

/// An extension that a group keeps; the candidate's score is its sum after penalties.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    group: usize,
    candidate: Candidate,
}

impl Chosen {
    fn extension(&self) -> [u32; 2] {
        [self.candidate.row, self.candidate.code]
    }
}

/// All extensions of the nodes of one request.
#[derive(Debug, Default)]
struct Extensions {
    first: usize,
    children: Vec<Child>,
    /// Start of the children of each node, and the end.
    starts: Vec<usize>,
}

impl Extensions {
    fn fill(
        &mut self,
        frontier: &Frontier<'_>,
        first: usize,
        last: usize,
        choices: &mut Choices,
    ) -> Result<()> {
        self.first = first;
        self.children.clear();
        self.starts.clear();
        for node in first..=last {
            self.starts.push(self.children.len());
            frontier.choices(node, choices)?;
            if choices.any() {
                let parent = &frontier.nodes()[node];
                let n = choices.branches.len();
                self.children.extend((0..n).map(|i| choices.child(parent, i)));
            }
        }
        self.starts.push(self.children.len());
        Ok(())
    }

    fn of(&self, node: usize) -> &[Child] {
        let i = node - self.first;
        &self.children[self.starts[i]..self.starts[i + 1]]
    }
}

impl Decoder for DiverseBeam {
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let requests = scorer.requests();
        let constraints = PerRequest::new(constraints, requests)?;
        let finished = self.search(scorer, constraints, run)?;
        Ok(self.merge(finished, requests))
    }

    fn width(&self) -> usize {
        self.ranking.width
    }
}

/// Registers `diverse-beam`.
pub fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    catalog.add(Entry::new(
        "diverse-beam",
        env!("CARGO_PKG_NAME"),
        "Groups of beams that avoid each other's codes (Vijayakumar et al., arXiv 1610.02424).",
        |o: DiverseBeamOptions, _: &()| Ok(Box::new(DiverseBeam::new(o)?) as Box<dyn Decoder>),
    ))
}
