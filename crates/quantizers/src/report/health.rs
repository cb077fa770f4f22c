//! The health of a set of IDs: use of the codes, entropy, collisions, reconstruction error.
//!
//! For a level with `n_k` rows on code `k` of `K`, `p_k = n_k / n`:
//! - usage = codes with `n_k > 0`, as a share of `K`;
//! - entropy `H = -sum p_k ln p_k` in nats, perplexity `exp(H)`: the number of equally used codes
//!   that would have this entropy;
//! - after the first `l` levels, with `r = x - x_hat`: mean squared residual `||r||_F^2 / (N D)`
//!   and relative residual `||r||_F / ||x||_F`.
//!
//! Cost `O(N L log N)`, and `N D` a level for the reconstruction. Sums over rows run in row order.

use crate::identifiers::{by_codes, groups};
use serde::{Deserialize, Serialize};
use sidereal_core::{Code, Codebook, Codes, Error, MatrixRef, Result, SidTable};
use std::fmt;

/// Figures of one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelReport {
    /// Codes of the level K.
    pub width: u32,
    /// Codes that at least one row uses.
    pub used: u32,
    /// `used / width`.
    pub usage: f64,
    /// Entropy of the codes in nats.
    pub entropy: f64,
    /// `exp(entropy)`.
    pub perplexity: f64,
    /// Mean squared residual after this level.
    pub mse: Option<f64>,
    /// Length of the residuals after this level as a share of that of the vectors.
    pub relative_residual: Option<f64>,
}

/// Figures of a set of IDs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SidReport {
    /// Rows: items, or (item, ID) pairs of a table with several IDs an item.
    pub rows: usize,
    /// Distinct IDs.
    pub distinct: usize,
    /// `distinct / rows`.
    pub distinct_share: f64,
    /// Share of rows whose ID another row has too.
    pub collision_rate: f64,
    /// Rows of the most shared ID.
    pub largest_bucket: usize,
    /// One entry a level.
    pub levels: Vec<LevelReport>,
}

impl SidReport {
    /// Of codes (`N x L`) out of levels of `widths`.
    ///
    /// Errors: a number of widths that is not L, a code outside its level.
    pub fn of_codes(codes: &Codes, widths: &[u32]) -> Result<Self> {
        if widths.len() != codes.levels() {
            return Err(Error::mismatch(format!(
                "SID report: {} widths for codes of {} levels",
                widths.len(),
                codes.levels()
            )));
        }
        let order = by_codes(codes);
        let buckets = groups(codes, &order).map(<[u32]>::len);
        Self::build(codes.rows(), |i| codes.sid(i), buckets, widths)
    }

    /// Of a finished table; a level is as wide as its largest code asks for.
    pub fn of_table(table: &SidTable) -> Result<Self> {
        let same = |a: &u32, b: &u32| table.sid(*a as usize) == table.sid(*b as usize);
        let buckets = table.sorted_rows().chunk_by(same).map(<[u32]>::len);
        Self::build(table.n_rows(), |r| table.sid(r), buckets, table.widths())
    }

    fn build<'a>(
        rows: usize,
        row: impl Fn(usize) -> &'a [Code],
        buckets: impl Iterator<Item = usize>,
        widths: &[u32],
    ) -> Result<Self> {
        let (mut distinct, mut shared, mut largest) = (0, 0, 0);
        for size in buckets {
            distinct += 1;
            shared += if size > 1 { size } else { 0 };
            largest = largest.max(size);
        }
        let level = |(l, &width): (usize, &u32)| {
            let codes = (0..rows).filter_map(|i| row(i).get(l).copied());
            LevelReport::of(l, width, codes)
        };
        Ok(SidReport {
            rows,
            distinct,
            distinct_share: share(distinct, rows),
            collision_rate: share(shared, rows),
            largest_bucket: largest,
            levels: widths.iter().enumerate().map(level).collect::<Result<_>>()?,
        })
    }

    /// Adds the reconstruction error of `vectors` (`N x D`) by the codes the codebook gave them;
    /// leaves it out where the codebook's codes stand for no vectors.
    ///
    /// Errors: a number of rows or levels, or a width D, that does not fit.
    pub fn with_reconstruction(
        mut self,
        codes: &Codes,
        codebook: &dyn Codebook,
        vectors: MatrixRef<'_>,
    ) -> Result<Self> {
        if codes.rows() != vectors.rows() || codes.levels() != self.levels.len() {
            return Err(Error::mismatch(format!(
                "SID report of {} levels: {} rows of {} codes for {} vectors",
                self.levels.len(),
                codes.rows(),
                codes.levels(),
                vectors.rows()
            )));
        }
        let Some(sums) = residual_sums(codes, codebook, vectors)? else { return Ok(self) };
        let values = (vectors.rows() * vectors.cols()).max(1) as f64;
        let whole = sums[0];
        for (level, &sum) in self.levels.iter_mut().zip(&sums[1..]) {
            level.mse = Some(sum / values);
            let ratio = if whole > 0.0 { (sum / whole).sqrt() } else { 0.0 };
            level.relative_residual = Some(ratio);
        }
        Ok(self)
    }
}

/// `||x - x_hat_l||_F^2` for l = 0 (nothing reconstructed) to L.
fn residual_sums(
    codes: &Codes,
    codebook: &dyn Codebook,
    vectors: MatrixRef<'_>,
) -> Result<Option<Vec<f64>>> {
    // A limit on memory: reconstructions are as large as the vectors.
    const BLOCK: usize = 8192;
    let (dim, levels) = (vectors.cols(), codes.levels());
    let mut sums = vec![0.0; levels + 1];
    for start in (0..codes.rows()).step_by(BLOCK) {
        let rows = BLOCK.min(codes.rows() - start);
        let part = &codes.data()[start * levels..(start + rows) * levels];
        let part = Codes::new(rows, levels, part.to_vec())?;
        let x = &vectors.data()[start * dim..(start + rows) * dim];
        sums[0] += x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        for l in 1..=levels {
            let Some(hat) = codebook.reconstruct(&part, l) else { return Ok(None) };
            if hat.cols() != dim {
                return Err(Error::mismatch(format!(
                    "SID report: the codebook gives vectors of width {}, got width {dim}",
                    hat.cols()
                )));
            }
            let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
            sums[l] += x.iter().zip(hat.data()).map(square).sum::<f64>();
        }
    }
    Ok(Some(sums))
}

impl LevelReport {
    fn of(level: usize, width: u32, codes: impl Iterator<Item = Code>) -> Result<Self> {
        let mut counts = vec![0u64; width as usize];
        for code in codes {
            let count = counts.get_mut(code as usize).ok_or_else(|| {
                Error::mismatch(format!(
                    "SID report: code {code} at level {level} of {width} codes"
                ))
            })?;
            *count += 1;
        }
        let n: u64 = counts.iter().sum();
        let used = counts.iter().filter(|c| **c > 0);
        let entropy: f64 = used
            .clone()
            .map(|&c| {
                let p = c as f64 / n as f64;
                -p * p.ln()
            })
            .sum();
        // A single code gives -1 ln 1 = -0.
        let entropy = entropy.max(0.0);
        let used = used.count();
        Ok(LevelReport {
            width,
            used: used as u32,
            usage: share(used, width as usize),
            entropy,
            perplexity: entropy.exp(),
            mse: None,
            relative_residual: None,
        })
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl fmt::Display for SidReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rows, {} distinct IDs ({:.2} %), {:.2} % of rows share theirs, largest bucket {}",
            self.rows,
            self.distinct,
            100.0 * self.distinct_share,
            100.0 * self.collision_rate,
            self.largest_bucket
        )?;
        let errors = self.levels.iter().any(|l| l.mse.is_some());
        write!(f, "level  codes   used    usage  entropy  perplexity")?;
        writeln!(f, "{}", if errors { "         mse  residual" } else { "" })?;
        for (i, l) in self.levels.iter().enumerate() {
            write!(
                f,
                "{:>5} {:>6} {:>6} {:>6.1} % {:>8.4} {:>11.1}",
                i + 1,
                l.width,
                l.used,
                100.0 * l.usage,
                l.entropy,
                l.perplexity
            )?;
            if let (Some(mse), Some(ratio)) = (l.mse, l.relative_residual) {
                write!(f, " {mse:>11.4e} {:>7.1} %", 100.0 * ratio)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ResidualCodebook, ResidualScale};
    use sidereal_core::{CodeOrder, ItemId, Matrix};

    #[test]
    fn four_rows_by_hand() {
        let codes = Codes::new(4, 2, vec![0, 1, 0, 1, 2, 1, 0, 0]).unwrap();
        let r = SidReport::of_codes(&codes, &[4, 2]).unwrap();
        assert_eq!((r.rows, r.distinct, r.largest_bucket), (4, 3, 2));
        assert_eq!((r.distinct_share, r.collision_rate), (0.75, 0.5));
        assert_eq!((r.levels[0].used, r.levels[0].usage), (2, 0.5));
        // Both levels hold one code three times and another once.
        let h = -(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        for l in &r.levels {
            assert!((l.entropy - h).abs() < 1e-15 && (l.perplexity - h.exp()).abs() < 1e-12);
        }
        let text = r.to_string();
        assert!(text.contains("4 rows, 3 distinct IDs (75.00 %), 50.00 % of rows"), "{text}");
        let widths: Vec<_> = text.lines().skip(1).map(str::len).collect();
        assert!(widths.windows(2).all(|w| w[0] == w[1]), "{text}");
        let back: SidReport = serde_json::from_str(&serde_json::to_string(&r).unwrap()).unwrap();
        assert_eq!(back, r);
    }

    #[test]
    fn reconstruction_by_hand() {
        let level = |v: &[f32]| Matrix::new(v.len() / 2, 2, v.to_vec()).unwrap();
        let book = ResidualCodebook::new(
            vec![level(&[3.0, 0.0, 0.0, 4.0]), level(&[0.0, 0.0, 0.0, 1.0])],
            ResidualScale::Raw,
        )
        .unwrap();
        let x = Matrix::new(2, 2, vec![3.0, 1.0, 0.0, 4.0]).unwrap();
        let codes = Codes::new(2, 2, vec![0, 1, 1, 0]).unwrap();
        let r = SidReport::of_codes(&codes, &[2, 2])
            .unwrap()
            .with_reconstruction(&codes, &book, x.view())
            .unwrap();
        assert_eq!((r.levels[0].mse, r.levels[1].mse), (Some(0.25), Some(0.0)));
        assert_eq!(r.levels[0].relative_residual, Some((1.0f64 / 26.0).sqrt()));
        let text = r.to_string();
        let widths: Vec<_> = text.lines().skip(1).map(str::len).collect();
        assert!(widths.windows(2).all(|w| w[0] == w[1]), "{text}");
    }

    #[test]
    fn tables_of_variable_length() {
        let rows: [(ItemId, &[Code]); 3] =
            [(ItemId(0), &[1]), (ItemId(1), &[1, 5]), (ItemId(2), &[1])];
        let t = SidTable::new(3, CodeOrder::Sequence, rows).unwrap();
        let r = SidReport::of_table(&t).unwrap();
        assert_eq!((r.distinct, r.largest_bucket, r.levels.len()), (2, 2, 2));
        assert_eq!((r.levels[0].entropy, r.levels[0].perplexity), (0.0, 1.0));
        assert_eq!((r.levels[1].width, r.levels[1].used), (6, 1));
        let empty = SidReport::of_codes(&Codes::new(0, 2, vec![]).unwrap(), &[2, 2]).unwrap();
        assert_eq!((empty.collision_rate, empty.distinct_share), (0.0, 0.0));
    }

    #[test]
    fn codes_outside_their_level_are_refused() {
        let codes = Codes::new(1, 1, vec![4]).unwrap();
        let err = SidReport::of_codes(&codes, &[4]).unwrap_err().to_string();
        assert!(err.contains("code 4 at level 0"), "{err}");
        assert!(SidReport::of_codes(&codes, &[4, 4]).is_err());
    }
}
