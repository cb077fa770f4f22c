//! The report as aligned text: a row a figure, a column a set of IDs.

use super::super::tables::Table;
use super::report::{Report, SHOWN};
use sidereal_quantizers::report::Correlation;
use std::fmt::Write;

/// All figures, and agreement of the sets.
pub fn report(report: &Report) -> String {
    let mut table = Table::default();
    let names = report.tables.iter().map(|t| t.name.clone());
    table.row(["figure".to_string(), "better".into()].into_iter().chain(names));
    for row in report.rows() {
        let cells = row.values.iter().map(|v| v.map_or("-".into(), number));
        table.row([row.name.clone(), row.better().into()].into_iter().chain(cells));
    }
    let mut out = table.text(0);
    if !report.stability.is_empty() {
        let mut table = Table::default();
        let longest =
            report.stability.iter().map(|p| p.lengths.len().min(SHOWN)).max().unwrap_or(0);
        let head = (1..=longest).flat_map(|l| [format!("ami.{l}"), format!("ari.{l}")]);
        table.row(std::iter::once("same groups?".to_string()).chain(head));
        for pair in &report.stability {
            let cells =
                pair.lengths.iter().take(SHOWN).flat_map(|g| [number(g.ami), number(g.ari)]);
            table.row(std::iter::once(format!("{} : {}", pair.a, pair.b)).chain(cells));
        }
        let _ = write!(out, "\n{}", table.text(0));
    }
    out
}

/// Correlations, the strongest first.
pub fn validation(found: &[Correlation], runs: usize, metric: &str) -> String {
    let mut table = Table::default();
    table.row(["figure", "runs", "rho", "p", "95 % low", "high"].map(String::from));
    let optional = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.3}"));
    for c in found {
        let p = c.p_value.map_or("-".into(), |p| format!("{p:.4}"));
        let numbers = [optional(c.rho), p, optional(c.low), optional(c.high)];
        table.row([c.figure.clone(), c.runs.to_string()].into_iter().chain(numbers));
    }
    let varied = found.iter().filter(|c| c.rho.is_some()).count();
    format!(
        "Spearman's rank correlation with test {metric} over {runs} runs\n\n{}\n{varied} figures \
         vary: about {:.1} would reach p < 0.05 by chance\n",
        table.text(0),
        0.05 * varied as f64
    )
}

/// Four digits, or a whole number.
pub fn number(v: f64) -> String {
    match v.fract() == 0.0 && v.abs() >= 2.0 {
        true => format!("{v}"),
        false => format!("{v:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_read_well() {
        let c = Correlation {
            figure: "prediction.bits".into(),
            runs: 4,
            rho: Some(1.0),
            p_value: Some(1.0 / 12.0),
            low: None,
            high: None,
        };
        let text = validation(&[c], 4, "recall@10");
        assert!(text.contains("prediction.bits     4  1.000  0.0833         -     -"), "{text}");
    }
}
