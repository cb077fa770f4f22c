//! The two shapes of a metric that can be streamed, merged and computed together with others:
//! a mean of a [`Formula`] over requests, and a function of whole-number counts over all requests.

use crate::Judged;

/// What a formula reads of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Where the targets are.
    Ranks,
    /// The distinct items too ([`Judged::head`]).
    Items,
}

/// The value of one request at several cut-offs in one pass.
pub trait Formula: Send + Sync {
    /// Writes the value at each of the cut-offs, which are ascending and distinct.
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]);

    /// Weight of the request in the mean.
    fn weight(&self, judged: &Judged<'_>) -> u64 {
        let _ = judged;
        1
    }

    /// What it reads.
    fn reads(&self) -> Reads {
        Reads::Ranks
    }
}

/// Counts over all requests.
pub trait Counter: Send + Sync {
    /// Number of counters.
    fn counters(&self) -> usize;

    /// Adds one request.
    fn count(&self, judged: &Judged<'_>, k: usize, counts: &mut [u64]);

    /// What it reads.
    fn reads(&self) -> Reads {
        Reads::Items
    }
}

/// A function of final counts.
pub type Figure<'a> = Box<dyn Fn(&[u64]) -> f64 + Send + Sync + 'a>;

/// A metric as something that can be accumulated. Forms of one `family` share their formula or
/// counters, so the family names every option but the cut-off.
pub enum Form<'a> {
    /// The weighted mean of a formula.
    Mean {
        /// Name of formula and options.
        family: String,
        /// Cut-off.
        k: usize,
        /// The formula.
        formula: Box<dyn Formula + 'a>,
    },
    /// A function of counts.
    Counts {
        /// Name of counters and options.
        family: String,
        /// Cut-off.
        k: usize,
        /// Counts requests.
        counter: Box<dyn Counter + 'a>,
        /// Makes the figure.
        figure: Figure<'a>,
    },
}

impl<'a> Form<'a> {
    /// A mean of a formula.
    pub fn mean(family: impl Into<String>, k: usize, formula: impl Formula + 'a) -> Self {
        Form::Mean { family: family.into(), k, formula: Box::new(formula) }
    }

    /// A figure from counts.
    pub fn counts(
        family: impl Into<String>,
        k: usize,
        counter: impl Counter + 'a,
        figure: impl Fn(&[u64]) -> f64 + Send + Sync + 'a,
    ) -> Self {
        Form::Counts {
            family: family.into(),
            k,
            counter: Box::new(counter),
            figure: Box::new(figure),
        }
    }
}
