//! What validation would have chosen, beside what the test says.
//!
//! Who tries many systems and reports the one that is best on the test part reports a maximum over
//! noise. The honest figure is the test value of the system that is best on validation, and the
//! agreement of the two orders says how far validation can be trusted to choose.

use super::super::collect::System;
use serde::{Deserialize, Serialize};
use sidereal_metrics::Direction;

/// A system on both parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Name of the system.
    pub system: String,
    /// Mean over seeds on validation.
    pub valid: f64,
    /// Mean over seeds on test.
    pub test: f64,
    /// Place by validation from 1; equal values share a place.
    pub valid_rank: usize,
    /// Place by test.
    pub test_rank: usize,
}

/// A choice between systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Name with cut-off.
    pub metric: String,
    /// Systems that have both values, the best by validation first.
    pub systems: Vec<Candidate>,
    /// Kendall's tau-b of the two orders; nothing where all values of a part are equal.
    pub agreement: Option<f64>,
}

/// Systems by validation; nothing for fewer than two that have both values.
pub fn choice(systems: &[&System], metric: &str, direction: Option<Direction>) -> Option<Choice> {
    let better = |a: f64, b: f64| direction.is_some_and(|d| d.improves(a, b));
    direction?;
    let mean = |values: Vec<f64>| {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let both = |s: &&System| {
        let valid = s.runs.iter().filter_map(|r| r.results.valid.get(metric).copied()).collect();
        Some((s.name.clone(), mean(valid)?, mean(s.values(metric))?))
    };
    let found: Vec<(String, f64, f64)> = systems.iter().filter_map(both).collect();
    if found.len() < 2 {
        return None;
    }
    let place = |of: &dyn Fn(&(String, f64, f64)) -> f64, v: f64| {
        1 + found.iter().filter(|f| better(of(f), v)).count()
    };
    let candidate = |(system, valid, test): &(String, f64, f64)| Candidate {
        system: system.clone(),
        valid: *valid,
        test: *test,
        valid_rank: place(&|f| f.1, *valid),
        test_rank: place(&|f| f.2, *test),
    };
    let mut out: Vec<Candidate> = found.iter().map(candidate).collect();
    out.sort_by_key(|c| c.valid_rank);
    let agreement = agreement(&out);
    Some(Choice { metric: metric.into(), systems: out, agreement })
}

/// Kendall's tau-b: pairs in the same order minus pairs in opposite orders, over the geometric mean
/// of the pairs that are not tied on either part.
fn agreement(systems: &[Candidate]) -> Option<f64> {
    let (mut same, mut untied_valid, mut untied_test) = (0i64, 0i64, 0i64);
    for (i, a) in systems.iter().enumerate() {
        for b in &systems[..i] {
            let valid = a.valid_rank.cmp(&b.valid_rank) as i64;
            let test = a.test_rank.cmp(&b.test_rank) as i64;
            same += valid * test;
            untied_valid += valid.abs();
            untied_test += test.abs();
        }
    }
    let whole = (untied_valid as f64 * untied_test as f64).sqrt();
    (whole > 0.0).then(|| same as f64 / whole)
}

impl Choice {
    /// Those that are best by validation: several only where their values are equal. As in a sweep the
    /// first of them is chosen.
    pub fn chosen(&self) -> impl Iterator<Item = &Candidate> {
        self.systems.iter().filter(|c| c.valid_rank == 1)
    }

    /// The best by test, for comparison only.
    pub fn best_on_test(&self) -> Option<&Candidate> {
        self.systems.iter().find(|c| c.test_rank == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::collect::collect;
    use super::super::super::synthetic::{Fake, write};
    use super::*;
    use sidereal_core::Run;

    fn made(values: &[(f64, u8)], direction: Option<Direction>) -> Option<Choice> {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (i, &(valid, hits)) in values.iter().enumerate() {
            paths.push(dir.path().join(char::from(b'a' + i as u8).to_string()));
            let hits = (0..10).map(|u| u8::from(u < hits)).collect();
            write(&paths[i], &Fake { width: i as u64, hits, ..Fake::default() });
            let file = paths[i].join("metrics.json");
            let text = std::fs::read_to_string(&file).unwrap();
            let valid = format!("\"valid\":{{\"recall@10\":{valid}}}");
            std::fs::write(&file, text.replace("\"valid\":{}", &valid)).unwrap();
        }
        let found = collect(&paths, &Run::quiet(0)).unwrap();
        let systems: Vec<&System> = found.systems.iter().collect();
        choice(&systems, "recall@10", direction)
    }

    const UP: Option<Direction> = Some(Direction::HigherIsBetter);

    #[test]
    fn validation_chooses_and_test_is_reported() {
        // By validation c a b d, by test b a d c: of six pairs (a, b) (a, c) (b, c) (c, d) are
        // in opposite orders, (a, d) and (b, d) in the same: tau = (2 - 4) / 6.
        let choice = made(&[(0.4, 5), (0.3, 6), (0.5, 2), (0.1, 4)], UP).unwrap();
        let names: Vec<&str> = choice.systems.iter().map(|c| c.system.as_str()).collect();
        assert_eq!(names, ["c", "a", "b", "d"]);
        let chosen: Vec<&Candidate> = choice.chosen().collect();
        assert_eq!((chosen.len(), chosen[0].test, chosen[0].test_rank), (1, 0.2, 4));
        assert_eq!(choice.best_on_test().unwrap().system, "b");
        assert!((choice.agreement.unwrap() + 1.0 / 3.0).abs() < 1e-12);
        let down = made(&[(0.4, 5), (0.3, 6)], Some(Direction::LowerIsBetter)).unwrap();
        assert_eq!((&down.systems[0].system[..], down.agreement), ("b", Some(-1.0)));
    }

    #[test]
    fn ties_share_a_place() {
        let choice = made(&[(0.4, 5), (0.4, 6), (0.1, 1)], UP).unwrap();
        let ranks: Vec<usize> = choice.systems.iter().map(|c| c.valid_rank).collect();
        assert_eq!((ranks, choice.chosen().count()), (vec![1, 1, 3], 2));
        // Two pairs agree, one is tied on validation: 2 / sqrt(2 * 3).
        assert!((choice.agreement.unwrap() - 2.0 / 6f64.sqrt()).abs() < 1e-12);
        assert_eq!(made(&[(0.0, 0), (0.0, 0)], UP).unwrap().agreement, None);
        assert!(made(&[(0.4, 5)], UP).is_none());
        assert!(made(&[(0.4, 5), (0.3, 6)], None).is_none());
    }
}
