//! Rows of a table by index, and their gradients.

/// `out[i] = table[ids[i]]` for rows of `cols` values.
pub fn gather(table: &[f32], cols: usize, ids: &[u32], out: &mut [f32]) {
    for (o, &id) in out.chunks_exact_mut(cols.max(1)).zip(ids) {
        let at = id as usize * cols;
        o.copy_from_slice(&table[at..at + cols]);
    }
}

/// `dtable[ids[i]] += dout[i]` for rows of `cols` values, in order.
pub fn scatter_add(dtable: &mut [f32], cols: usize, ids: &[u32], dout: &[f32]) {
    for (g, &id) in dout.chunks_exact(cols.max(1)).zip(ids) {
        let at = id as usize * cols;
        for (t, v) in dtable[at..at + cols].iter_mut().zip(g) {
            *t += v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_rows_add_up() {
        let table: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let mut out = vec![0.0; 6];
        gather(&table, 2, &[2, 0, 2], &mut out);
        assert_eq!(out, [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
        let mut d = vec![0.0; 6];
        scatter_add(&mut d, 2, &[2, 0, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(d, [3.0, 4.0, 0.0, 0.0, 6.0, 8.0]);
    }
}
