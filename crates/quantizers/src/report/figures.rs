//! Every figure of an analysis by name: for tables, comparisons and validation.

use super::analysis::SidAnalysis;
use serde::{Deserialize, Serialize};

/// Which way a figure is better, all else equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// More is better.
    Up,
    /// Less is better.
    Down,
    /// It depends.
    Neither,
}

/// A named number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Part and figure, and the prefix length where there is one, as in `nearness.auc.1`.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Which way is better.
    pub direction: Direction,
}

/// All figures of an analysis that it has.
pub fn figures(a: &SidAnalysis) -> Vec<Figure> {
    use Direction::{Down, Neither, Up};
    let mut out = Vec::new();
    let mut add = |name: String, value: Option<f64>, direction| {
        if let Some(value) = value.filter(|v| v.is_finite()) {
            out.push(Figure { name, value, direction });
        }
    };
    let plain = |name: &str| name.to_string();
    if let Some(p) = &a.prediction {
        add(plain("prediction.bits"), Some(p.bits), Up);
        add(plain("prediction.structure_bits"), Some(p.structure_bits), Up);
        add(plain("prediction.shuffled_bits"), Some(p.shuffled_bits), Neither);
        add(plain("prediction.recall"), Some(p.recall), Up);
        let first = p.contexts.get(1).map(|c| c.bits);
        add(plain("prediction.first_code_bits"), first, Up);
    }
    if let Some(b) = &a.behaviour {
        for l in &b.lengths {
            add(format!("behaviour.share.{}", l.length), Some(l.share), Neither);
            add(format!("behaviour.pmi.{}", l.length), l.pmi_bits, Up);
        }
    }
    if let Some(n) = &a.nearness {
        for l in n.lengths.iter().filter(|l| l.length > 0) {
            add(format!("nearness.auc.{}", l.length), l.auc, Up);
            let gain = l.at_least.map(|c| c - n.random);
            add(format!("nearness.cosine_gain.{}", l.length), gain, Up);
        }
    }
    if let Some(t) = &a.taxonomy {
        for l in 1..=a.shape.prefixes.len() {
            add(format!("taxonomy.ami.{l}"), t.best(l), Up);
        }
    }
    add(plain("ids.collision_rate"), Some(a.ids.collision_rate), Down);
    add(plain("ids.largest_bucket"), Some(a.ids.largest_bucket as f64), Down);
    for (i, l) in a.ids.levels.iter().enumerate() {
        let width = f64::from(l.width.max(1));
        add(format!("ids.usage.{}", i + 1), Some(l.usage), Up);
        add(format!("ids.perplexity_share.{}", i + 1), Some(l.perplexity / width), Up);
    }
    let s = &a.shape;
    add(plain("shape.mean_length"), Some(s.mean_length), Neither);
    add(plain("shape.tokens"), Some(s.tokens as f64), Neither);
    add(plain("shape.id_bits"), Some(s.id_bits), Neither);
    add(plain("shape.capacity_used"), Some(s.capacity_used), Neither);
    for p in &s.prefixes {
        add(format!("shape.gini.{}", p.length), Some(p.gini), Down);
        add(format!("shape.largest_share.{}", p.length), Some(p.largest_share), Down);
    }
    if let Some(codes) = &a.codes {
        add(plain("codes.collision_rate"), Some(codes.collision_rate), Down);
        for (i, l) in codes.levels.iter().enumerate() {
            add(format!("codes.residual.{}", i + 1), l.relative_residual, Down);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::analysis::AnalysisInput;
    use super::super::prefixes::tests::table;
    use super::*;
    use sidereal_core::Run;

    #[test]
    fn names_are_unique_and_values_are_those_of_the_report() {
        let t = table(&[&[0, 0], &[0, 0], &[1, 0]]);
        let a = SidAnalysis::of(&AnalysisInput::table(&t), &Run::quiet(0)).unwrap();
        let f = figures(&a);
        let value = |name: &str| f.iter().find(|x| x.name == name).unwrap().value;
        assert_eq!(value("ids.collision_rate"), a.ids.collision_rate);
        assert_eq!(value("shape.gini.1"), a.shape.prefixes[0].gini);
        let mut names: Vec<_> = f.iter().map(|x| &x.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), f.len());
        assert!(!f.iter().any(|x| x.name.starts_with("prediction")));
    }
}
