//! Packed rows in a padded batch of `groups x len` rows.
//!
//! Fused models keep the rows of all sequences back to back and count dropout masks over them; here
//! each packed row has a place in the padded batch, and its mask goes there too.

use candle_core::{DType, Device, Result, Tensor};
use sidereal_nn::kernels::dropout::Dropout;

/// Where packed rows stand.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    /// Number of groups, at least one.
    pub(crate) groups: usize,
    /// Rows of a group, padding included, at least one.
    pub(crate) len: usize,
    /// Row of the padded batch for each packed row.
    pub(crate) places: Vec<u32>,
}

impl Grid {
    /// Group `g` owns the next `lens[g]` packed rows.
    pub(crate) fn new(lens: &[usize]) -> Self {
        let len = lens.iter().copied().max().unwrap_or(0).max(1);
        let place = |(g, &n): (usize, &usize)| (g * len..g * len + n).map(|r| r as u32);
        let places = lens.iter().enumerate().flat_map(place).collect();
        Grid { groups: lens.len().max(1), len, places }
    }

    /// Rows of the padded batch.
    pub(crate) fn rows(&self) -> usize {
        self.groups * self.len
    }

    /// Ids of all rows; padding reads row 0, which nothing looks at.
    pub(crate) fn ids(&self, packed: &[u32], device: &Device) -> Result<Tensor> {
        let mut ids = vec![0u32; self.rows()];
        self.places.iter().zip(packed).for_each(|(&place, &id)| ids[place as usize] = id);
        Tensor::from_vec(ids, self.rows(), device)
    }

    /// `x` of `rows x width` after dropout.
    pub(crate) fn drop(&self, x: Tensor, dropout: Dropout, site: u32) -> Result<Tensor> {
        if !dropout.is_active() {
            return Ok(x);
        }
        let width = x.dim(1)?;
        let mut packed = vec![0u8; self.places.len() * width];
        dropout.mask_part(site, 0, &mut packed);
        let mut padded = vec![0u8; self.rows() * width];
        for (&place, mask) in self.places.iter().zip(packed.chunks_exact(width)) {
            padded[place as usize * width..][..width].copy_from_slice(mask);
        }
        let mask = Tensor::from_vec(padded, (self.rows(), width), x.device())?;
        masked(&x, &mask, dropout)
    }
}

/// Keeps what a mask of bytes keeps, scaled.
pub(crate) fn masked(x: &Tensor, mask: &Tensor, dropout: Dropout) -> Result<Tensor> {
    x * (mask.to_dtype(DType::F32)? * f64::from(dropout.scale()))?
}

/// Rows of the padded batch, as an index.
pub(crate) fn index(rows: Vec<u32>, device: &Device) -> Result<Tensor> {
    let n = rows.len();
    Tensor::from_vec(rows, n, device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_nn::Pass;

    #[test]
    fn rows_and_their_masks_stand_together() {
        let grid = Grid::new(&[2, 0, 3]);
        assert_eq!((grid.groups, grid.len, grid.rows()), (3, 3, 9));
        assert_eq!(grid.places, [0, 1, 6, 7, 8]);
        let ids: Vec<u32> = grid.ids(&[9, 8, 7, 6, 5], &Device::Cpu).unwrap().to_vec1().unwrap();
        assert_eq!(ids, [9, 8, 0, 0, 0, 0, 7, 6, 5]);
        let dropout = Dropout::new(0.5, Pass::Train { key: 3 });
        let x = Tensor::ones((9, 4), DType::F32, &Device::Cpu).unwrap();
        let y: Vec<Vec<f32>> = grid.drop(x, dropout, 2).unwrap().to_vec2().unwrap();
        for (r, &place) in grid.places.iter().enumerate() {
            for (c, &y) in y[place as usize].iter().enumerate() {
                assert_eq!(y, dropout.keep(2, (r * 4 + c) as u32));
            }
        }
        assert_eq!(y[2], [0.0; 4]);
        let none = Grid::new(&[]);
        assert_eq!((none.rows(), none.places.len()), (1, 0));
    }
}
