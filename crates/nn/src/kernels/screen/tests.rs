use super::*;
use proptest::prelude::*;

/// A number in `-0.5..0.5`, the same for the same arguments.
fn uniform(seed: u64, i: usize) -> f32 {
    let hash = sidereal_core::seed::mix(seed ^ (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    (hash >> 40) as f32 / (1 << 24) as f32 - 0.5
}

/// About normal, variance 1.
fn normal(seed: u64, i: usize) -> f32 {
    (0..12).map(|j| uniform(seed, 12 * i + j)).sum()
}

struct Case {
    dim: usize,
    points: Vec<f32>,
    rows: Vec<f32>,
}

impl Case {
    fn new(k: usize, n: usize, dim: usize, value: impl Fn(u64, usize) -> f32) -> Self {
        let points = (0..k * dim).map(|i| value(1, i)).collect();
        Case { dim, points, rows: (0..n * dim).map(|i| value(2, i)).collect() }
    }

    /// Squared distances of a row to all points, in f64.
    fn exact(&self, row: &[f32]) -> Vec<f64> {
        let square = |(r, c): (&f32, &f32)| (f64::from(*r) - f64::from(*c)).powi(2);
        self.points.chunks(self.dim).map(|c| row.iter().zip(c).map(square).sum()).collect()
    }

    /// Screens all rows as one block, checks all bounds, codes and distances; gives the mean number
    /// of points looked at, or none where the block was crowded.
    fn check(&self) -> Option<f64> {
        let screen = Screen::new(&self.points, self.dim)?;
        let n = self.rows.len() / self.dim;
        let mut s = Scratch::default();
        let (mut codes, mut distances) = (vec![u32::MAX; n], vec![f32::NAN; n]);
        let done =
            screen.nearest(&self.points, &self.rows, &[], &mut s, &mut codes, &mut distances);
        let width = screen.columns.scale.len();
        for (i, row) in self.rows.chunks(self.dim).enumerate() {
            let exact = self.exact(row);
            let shifted = row.iter().zip(&screen.shift).map(|(r, m)| f64::from(*r) - f64::from(*m));
            let square: f64 = shifted.map(|x| x * x).sum();
            let upper = s.upper[i * 16..][..16].iter().copied().fold(f32::INFINITY, f32::min);
            let low = exact.iter().copied().fold(f64::INFINITY, f64::min);
            // Distances less |r|^2 in f64 have a rounding of their own.
            let f64s = 1e-13 * (square + low) + 1e-35;
            for (k, d) in exact.iter().enumerate() {
                let lower = f64::from(s.lower[i * width + k]);
                assert!(lower <= d - square + f64s, "row {i}, point {k}: {lower} {}", d - square);
            }
            assert!(low - square <= f64::from(upper) + f64s, "row {i}: {} {upper}", low - square);
            if done == Screened::Found {
                let chosen = exact[codes[i] as usize];
                assert!(chosen <= low * (1.0 + 1e-6) + 1e-36, "row {i}: {chosen} {low}");
                let off = (f64::from(distances[i]) - chosen).abs();
                assert!(off <= 1e-5 * chosen + 1e-36, "row {i}: {} {chosen}", distances[i]);
            } else {
                assert!(codes.iter().all(|&c| c == u32::MAX), "a crowded block writes nothing");
            }
        }
        (done == Screened::Found).then(|| s.looked_at() as f64 / n as f64)
    }
}

fn skipped(test: &str) -> bool {
    if !available() {
        println!("skipped: {test}, because this processor has no AVX-512 VNNI");
    }
    !available()
}

#[test]
fn points_and_rows_without_structure() {
    if skipped("points_and_rows_without_structure") {
        return;
    }
    // As centroids of a level without structure are: means of many rows, so close to each other.
    let means = |seed, i| normal(seed, i) * if seed == 1 { 0.05 } else { 1.0 };
    let left = Case::new(256, 64, 768, means).check().expect("not crowded");
    println!("{left} points looked at");
    assert!(left < 16.0, "{left} points looked at");
    let spread = Case::new(256, 64, 768, normal).check().expect("not crowded");
    assert!(spread < 8.0, "{spread} points looked at");
}

#[test]
fn scales_offsets_and_uneven_points() {
    if skipped("scales_offsets_and_uneven_points") {
        return;
    }
    for scale in [1e-15, 1e-6, 1.0, 1e6, 1e15] {
        assert!(Case::new(40, 33, 100, |s, i| scale * normal(s, i)).check().is_some(), "{scale}");
    }
    for scale in [1e-32, 1e-25, 1e-19] {
        Case::new(40, 33, 100, |s, i| scale * normal(s, i)).check();
    }
    let far = Case::new(40, 33, 100, |s, i| 1000.0 + normal(s, i));
    assert!(far.check().is_some(), "the mean is taken off");
    let uneven = |s, i: usize| normal(s, i) * if s == 1 { (i / 100) as f32 } else { 1.0 };
    assert!(Case::new(70, 20, 100, uneven).check().is_some());
    // One value of each row outweighs all others: 8 bits hold nothing else.
    let spiked = |s, i: usize| normal(s, i) * if i % 100 == 7 { 1e4 } else { 1.0 };
    Case::new(70, 20, 100, spiked).check();
}

#[test]
fn ties_go_to_the_lowest() {
    if skipped("ties_go_to_the_lowest") {
        return;
    }
    let mut case = Case::new(48, 64, 65, normal);
    // Pairs of equal points, and rows that are points: distance zero.
    case.points.copy_within(0..24 * 65, 24 * 65);
    case.rows[..48 * 65].copy_from_slice(&case.points);
    assert!(case.check().is_some());
    let screen = Screen::new(&case.points, 65).unwrap();
    let (mut codes, mut distances) = ([0; 64], [1.0; 64]);
    let (points, rows) = (&case.points, &case.rows);
    screen.nearest(points, rows, &[], &mut Scratch::default(), &mut codes, &mut distances);
    let wanted: Vec<u32> = (0..24).chain(0..24).collect();
    assert_eq!(codes[..48], wanted);
    assert_eq!(distances[..48], [0.0; 48]);
    assert!(codes.iter().all(|&c| c < 24));
}

#[test]
fn zeros_constants_and_what_is_not_finite() {
    if skipped("zeros_constants_and_what_is_not_finite") {
        return;
    }
    let mut case = Case::new(33, 10, 64, normal);
    case.points[5 * 64..6 * 64].fill(0.0);
    case.rows[..64].fill(0.0);
    case.rows[64..128].fill(-3.5);
    assert!(case.check().is_some());
    // One point thirty-three times: all are left.
    let same = Case::new(33, 10, 64, |s, i| if s == 1 { 2.5 } else { normal(s, i) });
    assert_eq!(same.check(), None);
    // A single point is never a crowd.
    assert_eq!(Case::new(1, 9, 64, normal).check(), Some(1.0));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
        let mut case = Case::new(33, 10, 64, normal);
        let screen = Screen::new(&case.points, 64).unwrap();
        case.rows[70] = bad;
        let (mut codes, mut distances) = ([7; 10], [0.0; 10]);
        let mut s = Scratch::default();
        let done = screen.nearest(
            &case.points,
            &case.rows,
            &case.points,
            &mut s,
            &mut codes,
            &mut distances,
        );
        assert_eq!(done, Screened::Crowded, "{bad}");
        case.points[70] = bad;
        assert!(Screen::new(&case.points, 64).is_none(), "{bad}");
    }
    assert!(Screen::new(&[], 64).is_none() && Screen::new(&[1.0], 0).is_none());
}

#[test]
fn scratch_of_another_shape_can_be_used_again() {
    if skipped("scratch_of_another_shape_can_be_used_again") {
        return;
    }
    let mut s = Scratch::default();
    for (k, n, dim) in [(200, 64, 130), (40, 7, 64), (300, 20, 77)] {
        let case = Case::new(k, n, dim, normal);
        let screen = Screen::new(&case.points, dim).unwrap();
        let [mut used, mut fresh] = [vec![0; n], vec![0; n]];
        let mut d = vec![0.0; n];
        screen.nearest(&case.points, &case.rows, &case.points, &mut s, &mut used, &mut d);
        screen.nearest(&case.points, &case.rows, &[], &mut Scratch::default(), &mut fresh, &mut d);
        assert_eq!(used, fresh);
    }
}

#[test]
fn panels_cover_all_columns() {
    for width in (16..400).step_by(16) {
        let panels: Vec<usize> = widths(width).collect();
        assert_eq!(panels.iter().sum::<usize>(), width);
        assert!(width == 16 || panels.iter().all(|p| [32, 48].contains(p)), "{width}: {panels:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn bounds_hold_and_the_nearest_is_found(
        k in 1usize..80, n in 1usize..=64, dim in 1usize..150, seed: u64,
        exponent in -12i32..12, offset in -3f32..3.0, shrink in 0i32..6, copies in 1usize..4,
    ) {
        let (scale, shrink) = (10f32.powi(exponent), 0.5f32.powi(shrink));
        let value = |s: u64, i: usize| {
            // Some points are the same.
            let i = if s == 1 { i % (k * dim / copies).max(1) } else { i };
            let x = normal(seed ^ s, i) * if s == 1 { shrink } else { 1.0 };
            scale * (x + offset)
        };
        Case::new(k, n, dim, value).check();
    }
}
