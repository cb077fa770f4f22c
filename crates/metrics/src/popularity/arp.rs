//! ARP@k, average recommendation popularity (Yin et al. 2012; Elliot v0.3.1): the mean audience of
//! the items within k, over the length of the list; mean over requests. An empty list has 0.
//!
//! RecBole's AveragePopularity is the same where no user has an item twice.

use super::Audience;
use crate::metric::at_k;
use crate::{EvalContext, Form, Formula, Judged, Need, Reads};

at_k! {
    /// Mean popularity of what is recommended.
    Arp, "arp", LowerIsBetter, [Need::Train],
    |name: &str, k, context: &EvalContext<'a>| {
        let audience = Audience::of(context.train(name)?, context.n_items)?;
        Ok(Form::mean(name, k, Popularity(audience)))
    }
}

struct Popularity(Audience);

impl Formula for Popularity {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        judged.over_items(
            cut_offs,
            values,
            0u64,
            |sum, _, item| *sum += u64::from(self.0.of_item[item.index()]),
            |sum, _, n| *sum as f64 / n.max(1) as f64,
        );
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}
