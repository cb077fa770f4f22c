//! All figures of a set of IDs at once, as `sid_report.json` holds them.

use super::agreement::Agreement;
use super::behaviour::BehaviourReport;
use super::health::SidReport;
use super::nearness::NearnessReport;
use super::prediction::PredictionReport;
use super::prefixes::Prefixes;
use super::shape::ShapeReport;
use super::taxonomy::TaxonomyReport;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Event, ItemTable, MatrixRef, Result, Run, Sequences, SidTable};
use sidereal_nn::parallel::pool;

const TASK: &str = "sid report";
const PARTS: u64 = 5;
/// Seed of all draws of a report: every set of IDs is measured on the same pairs of places and the
/// same held-out users, whatever the seed of its run.
const SEED: u64 = 0;

/// A table and what is known of its items. What is missing leaves its figures out.
#[derive(Clone, Copy)]
pub struct AnalysisInput<'a> {
    /// The IDs.
    pub table: &'a SidTable,
    /// The catalogue, for categories.
    pub items: Option<&'a ItemTable>,
    /// Training histories, never the targets.
    pub train: Option<&'a Sequences>,
    /// Vectors of the items, shape `N x D`.
    pub vectors: Option<MatrixRef<'a>>,
}

impl<'a> AnalysisInput<'a> {
    /// A table of which nothing else is known.
    pub fn table(table: &'a SidTable) -> Self {
        AnalysisInput { table, items: None, train: None, vectors: None }
    }
}

/// Figures of a set of IDs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SidAnalysis {
    /// Health of the quantizer's codes, with their reconstruction error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes: Option<SidReport>,
    /// Health of the finished IDs.
    pub ids: SidReport,
    /// Length, capacity, balance.
    pub shape: ShapeReport,
    /// Cosines of the vectors by shared codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearness: Option<NearnessReport>,
    /// Shared codes of neighbours in histories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behaviour: Option<BehaviourReport>,
    /// Agreement with the categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taxonomy: Option<TaxonomyReport>,
    /// What the last item's ID says about the next item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<PredictionReport>,
}

impl SidAnalysis {
    /// Measures everything that the input allows; the run's seed changes nothing.
    ///
    /// Errors: items, histories or vectors of another catalogue; vectors that are not finite;
    /// stopped on request.
    pub fn of(input: &AnalysisInput<'_>, run: &Run<'_>) -> Result<Self> {
        let run = Run { seed: SEED, ..run.clone() };
        pool(run.threads)?.install(|| Self::measure(input, &run))
    }

    fn measure(input: &AnalysisInput<'_>, run: &Run<'_>) -> Result<Self> {
        run.emit(Event::Started { task: TASK, total: PARTS, unit: "parts" });
        let mut done = 0;
        let mut next = || {
            done += 1;
            run.emit(Event::Advanced { task: TASK, done, numbers: &[] });
            run.check()
        };
        let prefixes = Prefixes::of(input.table);
        let ids = SidReport::of_table(input.table)?;
        let shape = ShapeReport::of(input.table, &prefixes);
        next()?;
        let nearness = input.vectors.map(|v| NearnessReport::of(&prefixes, v, run)).transpose()?;
        next()?;
        let behaviour = input.train.map(|t| BehaviourReport::of(&prefixes, t)).transpose()?;
        next()?;
        let taxonomy = input.items.map(|i| TaxonomyReport::of(&prefixes, i)).transpose()?;
        next()?;
        let prediction =
            input.train.map(|t| PredictionReport::of(&prefixes, t, run)).transpose()?;
        next()?;
        run.emit(Event::Finished { task: TASK });
        Ok(SidAnalysis {
            codes: None,
            ids,
            shape,
            nearness: nearness.flatten(),
            behaviour: behaviour.flatten(),
            taxonomy: taxonomy.flatten(),
            prediction: prediction.flatten(),
        })
    }
}

/// How stable IDs are: agreement of two tables of one catalogue at each prefix length from 1, as
/// far as both go. Names of codes do not matter.
///
/// Errors: catalogues of different sizes.
pub fn stability(a: &SidTable, b: &SidTable) -> Result<Vec<Agreement>> {
    if a.n_items() != b.n_items() {
        return Err(Error::mismatch(format!(
            "tables of {} and {} items cannot be compared item by item",
            a.n_items(),
            b.n_items()
        )));
    }
    let (a, b) = (Prefixes::of(a), Prefixes::of(b));
    let at = |l: usize| Agreement::of(a.labels(l), b.labels(l));
    (1..=a.longest().min(b.longest())).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::super::prefixes::tests::table;
    use super::*;
    use sidereal_core::{ItemId, Matrix, StringColumn};

    #[test]
    fn what_is_missing_is_left_out() {
        let t = table(&[&[0, 0], &[0, 1], &[1, 0]]);
        let bare = SidAnalysis::of(&AnalysisInput::table(&t), &Run::quiet(0)).unwrap();
        assert!(bare.nearness.is_none() && bare.prediction.is_none());
        let tree = serde_json::to_value(&bare).unwrap();
        assert_eq!(tree.as_object().unwrap().keys().collect::<Vec<_>>(), ["ids", "shape"]);
        let ids: StringColumn = ["a", "b", "c"].iter().collect();
        let items = ItemTable::new(ids)
            .with_column("categories", ["A", "A", "B"].iter().collect())
            .unwrap();
        let mut train = Sequences::default();
        (0..30).for_each(|_| train.push(&[ItemId(0), ItemId(1), ItemId(2)]));
        let x = Matrix::new(3, 1, vec![1.0, 1.0, -1.0]).unwrap();
        let input = AnalysisInput {
            items: Some(&items),
            train: Some(&train),
            vectors: Some(x.view()),
            ..AnalysisInput::table(&t)
        };
        let full = SidAnalysis::of(&input, &Run::quiet(0)).unwrap();
        assert_eq!(full.taxonomy.as_ref().unwrap().best(1), Some(1.0));
        assert_eq!(full.nearness.as_ref().unwrap().lengths[1].auc, Some(1.0));
        assert!(full.prediction.is_some() && full.behaviour.is_some());
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<SidAnalysis>(&text).unwrap(), full);
    }

    #[test]
    fn stability_does_not_see_names() {
        let a = table(&[&[0, 0], &[0, 1], &[1, 0], &[1, 1]]);
        let renamed = table(&[&[9, 4], &[9, 2], &[3, 7], &[3, 0]]);
        for g in stability(&a, &renamed).unwrap() {
            assert_eq!((g.items, g.nmi, g.ari), (4, 1.0, 1.0));
        }
        let crossed = table(&[&[0, 0, 1], &[1, 0, 1], &[0, 1, 1], &[1, 1, 1]]);
        let g = stability(&a, &crossed).unwrap();
        assert_eq!((g.len(), g[0].nmi), (2, 0.0));
        assert!((g[0].ari + 0.5).abs() < 1e-12, "{g:?}");
        assert!(stability(&a, &table(&[&[0]])).is_err());
    }
}
