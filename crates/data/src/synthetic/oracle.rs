//! The best possible recommender: it knows the world.

use super::World;
use sidereal_core::{ItemId, Recommendation, Recommender, Request, Response, Result, Run};

/// Recommends the items of largest true probability; ties go to the lower item. Items that cannot
/// come next (seen ones) are never recommended.
#[derive(Debug, Clone)]
pub struct Oracle {
    world: World,
}

impl Oracle {
    /// The oracle of a world.
    pub fn new(world: World) -> Self {
        Oracle { world }
    }
}

impl Recommender for Oracle {
    fn recommend(
        &self,
        requests: &[Request<'_>],
        k: usize,
        run: &Run<'_>,
    ) -> Result<Vec<Response>> {
        let mut p = Vec::new();
        let mut order = Vec::new();
        let mut responses = Vec::with_capacity(requests.len());
        for request in requests {
            run.check()?;
            self.world.fill_next_distribution(request.history, &mut p)?;
            request.check(p.len())?;
            if let Some(among) = request.among {
                let outside = |i: &usize| !among.contains(ItemId(*i as u32));
                (0..p.len()).filter(outside).for_each(|i| p[i] = 0.0);
            }
            for item in request.exclude {
                if let Some(p) = p.get_mut(item.index()) {
                    *p = 0.0;
                }
            }
            top(&p, k, &mut order);
            let items = order
                .iter()
                .map(|&item| Recommendation { item, score: p[item.index()], sid: None })
                .collect();
            responses.push(Response { items, invalid: 0 });
        }
        Ok(responses)
    }
}

/// The `k` items of largest probability above 0, best first, ties to the lower item.
pub(crate) fn top(p: &[f64], k: usize, order: &mut Vec<ItemId>) {
    order.clear();
    order.extend((0..p.len() as u32).map(ItemId).filter(|i| p[i.index()] > 0.0));
    let better =
        |a: &ItemId, b: &ItemId| p[b.index()].total_cmp(&p[a.index()]).then_with(|| a.cmp(b));
    if k < order.len() {
        if k > 0 {
            order.select_nth_unstable_by(k - 1, better);
        }
        order.truncate(k);
    }
    order.sort_unstable_by(better);
}
