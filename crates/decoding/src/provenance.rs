//! How a hypothesis was found.
//!
//! What learns from hypotheses must know it: the correction of a policy gradient needs the
//! probability that a sampler drew with, a ranking reward needs an order, and a beam is no sample
//! at all.

/// How a decoder found a hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Provenance {
    /// A search that keeps the best prefixes of each level.
    #[default]
    Beam,
    /// Every identifier was scored.
    Exhaustive,
    /// A group of a diverse beam.
    Group {
        /// The group, from 0; the first one that found it.
        group: u32,
    },
    /// Draws of a sampler.
    Draw(Draw),
    /// Filled in, because something else found too few.
    Fallback,
    /// One of several output heads whose lists were merged.
    Head {
        /// The head, from 0.
        head: u32,
    },
    /// Codes that were scored together, as a set.
    Set,
}

impl Provenance {
    /// The draw, where a sampler found the hypothesis.
    pub fn draw(&self) -> Option<&Draw> {
        match self {
            Provenance::Draw(draw) => Some(draw),
            _ => None,
        }
    }
}

/// Draws that gave one identifier.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Draw {
    /// The first draw that gave it, from 0.
    pub index: u32,
    /// How many draws gave it; 1 without replacement.
    pub copies: u32,
    /// Log-probability of the identifier under the law that was drawn from, after temperature and
    /// cuts: the behaviour policy. Where draws depend on earlier ones, given those.
    pub log_prob: f64,
    /// `sum weight * f(identifier)` over the hypotheses of a request estimates the mean of `f`
    /// under that law without bias: `copies / n` with replacement, `p / q` without, where q is the
    /// chance to be among the drawn given the threshold. `None` where draws allow no such estimate.
    pub weight: Option<f64>,
}
