//! Novelty as mean self-information of the items within k in bits (Zhou et al. 2010):
//! -log2(audience / training users); mean over requests. An item that nobody has counts as if one
//! user had it; an empty list has 0.

use super::Audience;
use crate::metric::at_k;
use crate::{EvalContext, Form, Formula, Judged, Need, Reads};

at_k! {
    /// How little known the recommended items are.
    SelfInformation, "self-information", HigherIsBetter, [Need::Train],
    |name: &str, k, context: &EvalContext<'a>| {
        let audience = Audience::of(context.train(name)?, context.n_items)?;
        let users = audience.users.max(1) as f64;
        let bits = |&c: &u32| (users / f64::from(c.max(1))).log2();
        Ok(Form::mean(name, k, Bits(audience.of_item.iter().map(bits).collect())))
    }
}

struct Bits(Vec<f64>);

impl Formula for Bits {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        judged.over_items(
            cut_offs,
            values,
            0.0,
            |sum, _, item| *sum += self.0[item.index()],
            |sum, _, n| sum / n.max(1) as f64,
        );
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}
