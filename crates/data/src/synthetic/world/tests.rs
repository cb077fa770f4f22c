use super::*;
use proptest::prelude::*;

/// 2 departments, 2 categories, 3 styles, 2 items: 12 leaves, 24 items.
fn tiny() -> World {
    World::new(SyntheticOptions {
        departments: 2,
        categories: 2,
        styles: 3,
        leaf_items: 2,
        min_length: 3,
        max_length: 8,
        users: 50,
        ..SyntheticOptions::default()
    })
    .unwrap()
}

/// The definition of the module's header, item by item.
fn by_definition(world: &World, history: &[ItemId]) -> Vec<f64> {
    let (o, tree) = (world.options(), world.tree());
    let n_leaves = tree.n_leaves();
    let w = |leaf: usize| world.leaf_sums[leaf + 1] - world.leaf_sums[leaf];
    let total = |leaves: &[usize]| leaves.iter().map(|&l| w(l)).sum::<f64>();
    let all: Vec<usize> = (0..n_leaves).collect();
    let ring = o.styles;
    let around = |leaf: usize, by: usize| leaf / ring * ring + (leaf % ring + by) % ring;
    // Direction: the latest step since the user came to the category.
    let leaves: Vec<usize> = history.iter().map(|&i| tree.leaf(i)).collect();
    let mut g = 0.5;
    for t in 1..leaves.len() {
        let (a, b) = (leaves[t - 1], leaves[t]);
        if a / ring != b / ring {
            g = 0.5;
        } else if ring >= 3 && b == around(a, 1) {
            g = o.momentum;
        } else if ring >= 3 && b == around(a, ring - 1) {
            g = 1.0 - o.momentum;
        }
    }
    let drift = |m: usize| -> f64 {
        let Some(&l) = leaves.last() else { return w(m) / total(&all) };
        let department: Vec<usize> =
            all.iter().copied().filter(|&x| tree.department(x) == tree.department(l)).collect();
        let is = |x: bool| f64::from(x);
        o.stay * is(m == l)
            + o.step * (g * is(m == around(l, 1)) + (1.0 - g) * is(m == around(l, ring - 1)))
            + o.jump * is(department.contains(&m)) * w(m) / total(&department)
            + (1.0 - o.stay - o.step - o.jump) * w(m) / total(&all)
    };
    let unseen = |m: usize| -> Vec<ItemId> {
        tree.members(m).iter().copied().filter(|i| !history.contains(i)).collect()
    };
    let choice = |i: ItemId| (tree.rank(i) as f64 + 1.0).powf(-o.item_skew);
    let open: Vec<usize> = all.iter().copied().filter(|&m| !unseen(m).is_empty()).collect();
    let mass: f64 = open.iter().map(|&m| drift(m)).sum();
    (0..tree.n_items() as u32)
        .map(ItemId)
        .map(|i| {
            let m = tree.leaf(i);
            if history.contains(&i) {
                return 0.0;
            }
            drift(m) / mass * choice(i) / unseen(m).into_iter().map(choice).sum::<f64>()
        })
        .collect()
}

fn history(world: &World, user: u32) -> Vec<ItemId> {
    world.interactions().unwrap().items(sidereal_core::UserId(user)).to_vec()
}

proptest! {
    #[test]
    fn is_the_definition_and_sums_to_one(
        order in Just((0..24u32).collect::<Vec<_>>()).prop_shuffle(), length in 0usize..24) {
        let world = tiny();
        let history: Vec<_> = order[..length].iter().copied().map(ItemId).collect();
        let p = world.next_distribution(&history).unwrap();
        prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        for (i, (p, q)) in p.iter().zip(by_definition(&world, &history)).enumerate() {
            prop_assert!((p - q).abs() < 1e-12, "item {i}: {p} for {q}");
        }
    }
}

#[test]
fn the_sampler_draws_from_the_distribution() {
    let world = tiny();
    // A long history exhausts leaves; an empty one has no leaf at all.
    let long: Vec<ItemId> = (0..7).flat_map(|l| world.tree().members(l).to_vec()).collect();
    let user = history(&world, 3);
    for (case, history) in [&[][..], &user[..1], &user, &long].iter().enumerate() {
        let p = world.next_distribution(history).unwrap();
        let mut counts = vec![0u32; p.len()];
        let mut rng = seed::stream(5, "test-draws", case as u64);
        let draws = 200_000;
        for _ in 0..draws {
            counts[world.draw_next(history, &mut rng).unwrap().index()] += 1;
        }
        for (i, (&c, &p)) in counts.iter().zip(&p).enumerate() {
            let n = f64::from(draws);
            let error = 5.0 * (n * p * (1.0 - p)).sqrt();
            let gap = (f64::from(c) - n * p).abs();
            assert!(gap <= error, "case {case} item {i}: {c} draws, {} expected", n * p);
        }
    }
}

#[test]
fn direction_is_kept_inside_a_category_only() {
    let world = tiny();
    let item = |leaf: usize, rank: usize| world.tree().members(leaf)[rank];
    let direction = |h: &[ItemId]| world.direction(h);
    assert_eq!(direction(&[]), None);
    assert_eq!(direction(&[item(0, 0)]), None);
    assert_eq!(direction(&[item(0, 0), item(1, 0)]), Some(Direction::Up));
    assert_eq!(direction(&[item(0, 0), item(2, 0)]), Some(Direction::Down));
    assert_eq!(direction(&[item(0, 0), item(1, 0), item(1, 1)]), Some(Direction::Up));
    assert_eq!(direction(&[item(0, 0), item(1, 0), item(3, 1)]), None);
    assert_eq!(direction(&[item(0, 0), item(1, 0), item(0, 1)]), Some(Direction::Down));
}

#[test]
fn dead_ends_lead_anywhere_and_the_end_is_reached() {
    let o = SyntheticOptions { stay: 1.0, step: 0.0, jump: 0.0, ..tiny().options };
    let world = World::new(SyntheticOptions { min_length: 24, max_length: 24, ..o }).unwrap();
    let p = world.next_distribution(world.tree().members(4)).unwrap();
    assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert_eq!(p.iter().filter(|&&p| p > 0.0).count(), 22);
    // Every user sees the whole catalogue, each item once; then nothing is left.
    let mut items = history(&world, 0);
    assert_eq!(world.next_distribution(&items).unwrap(), [0.0; 24]);
    assert_eq!(world.draw_next(&items, &mut seed::stream(0, "test", 0)), None);
    items.sort_unstable();
    items.dedup();
    assert_eq!(items.len(), 24);
}

#[test]
fn same_number_same_bytes_and_users_are_independent() {
    let (a, b) = (tiny(), tiny());
    assert_eq!(a.items().unwrap(), b.items().unwrap());
    assert_eq!(a.interactions().unwrap(), b.interactions().unwrap());
    let other = World::new(SyntheticOptions { world: 1, ..a.options.clone() }).unwrap();
    assert_ne!(a.items().unwrap(), other.items().unwrap());
    assert_ne!(a.interactions().unwrap(), other.interactions().unwrap());
    let more = World::new(SyntheticOptions { users: 60, ..a.options.clone() }).unwrap();
    let (few, more) = (a.interactions().unwrap(), more.interactions().unwrap());
    assert_eq!(few.all_items(), &more.all_items()[..few.all_items().len()]);
    assert_eq!(few.all_times().unwrap(), &more.all_times().unwrap()[..few.all_items().len()]);
}

#[test]
fn histories_have_the_asked_lengths_distinct_items_and_rising_times() {
    let world = tiny();
    let all = world.interactions().unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for (user, items) in all.iter() {
        lengths.insert(items.len());
        let distinct: std::collections::BTreeSet<_> = items.iter().collect();
        assert_eq!(distinct.len(), items.len());
        assert!(all.times(user).unwrap().windows(2).all(|t| t[0] <= t[1]));
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8]);
}

#[test]
fn items_outside_the_world_are_refused() {
    let err = tiny().next_distribution(&[ItemId(24)]).unwrap_err().to_string();
    assert!(err.contains("item 24") && err.contains("24 items"), "{err}");
}
