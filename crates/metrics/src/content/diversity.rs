//! ILD@k, intra-list diversity (Ziegler et al. 2005; Zhang and Hurley 2008): the mean distance of
//! all pairs of items within k; mean over requests. A list of fewer than two items has 0.
//!
//! `ild-vectors` has the distance 1 - cos of the items' vectors, a vector of zeros being at right
//! angles to all. With unit vectors x_i and their sum g, the sum of cosines over pairs is
//! (|g|^2 - sum |x_i|^2) / 2: O(k D) a request instead of O(k^2 D). `ild-categories` has the Jaccard
//! distance of the items' classes, O(k^2) comparisons.

use super::inverse_lengths;
use crate::metric::at_k;
use crate::{Classes, EvalContext, Form, Formula, Judged, Need, Reads};
use sidereal_core::MatrixRef;

at_k! {
    /// Mean cosine distance within lists.
    IldVectors, "ild-vectors", HigherIsBetter, [Need::Vectors],
    |name: &str, k, context: &EvalContext<'a>| {
        let vectors = context.vectors(name)?;
        Ok(Form::mean(name, k, Cosine { vectors, scales: inverse_lengths(name, vectors)? }))
    }
}

at_k! {
    /// Mean Jaccard distance of categories within lists.
    IldCategories, "ild-categories", HigherIsBetter, [Need::Categories],
    |name: &str, k, context: &EvalContext<'a>| {
        Ok(Form::mean(name, k, Jaccard { classes: context.categories(name)? }))
    }
}

struct Cosine<'a> {
    vectors: MatrixRef<'a>,
    scales: Vec<f64>,
}

impl Formula for Cosine<'_> {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        // The sum of unit vectors and the sum of their squared lengths.
        let state = (vec![0.0f64; self.vectors.cols()], 0.0f64);
        judged.over_items(
            cut_offs,
            values,
            state,
            |(sum, own), _, item| {
                let scale = self.scales[item.index()];
                for (s, &x) in sum.iter_mut().zip(self.vectors.row(item.index())) {
                    *s += scale * f64::from(x);
                }
                *own += if scale > 0.0 { 1.0 } else { 0.0 };
            },
            |(sum, own), _, n| {
                let pairs = (n * n.saturating_sub(1)) as f64;
                let square: f64 = sum.iter().map(|s| s * s).sum();
                if n < 2 { 0.0 } else { 1.0 - (square - own) / pairs }
            },
        );
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}

struct Jaccard<'a> {
    classes: &'a Classes,
}

impl Formula for Jaccard<'_> {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        judged.over_items(
            cut_offs,
            values,
            0.0,
            |sum, rank, item| {
                let before = &judged.head[..rank];
                *sum += before.iter().map(|&i| self.classes.distance(i, item)).sum::<f64>();
            },
            |sum, _, n| if n < 2 { 0.0 } else { sum / ((n * (n - 1)) as f64 / 2.0) },
        );
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}
