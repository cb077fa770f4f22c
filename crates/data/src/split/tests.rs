use super::*;
use sidereal_core::{ItemTable, Spec, StringColumn};

/// Users with the given histories; item `i` of user `u` was taken at `10 * i + u`.
fn world(histories: &[&[u32]]) -> Dataset {
    let mut offsets = vec![0u64];
    let (mut items, mut times) = (Vec::new(), Vec::new());
    for (u, h) in histories.iter().enumerate() {
        items.extend(h.iter().map(|&i| ItemId(i)));
        times.extend((0..h.len()).map(|i| 10 * i as i64 + u as i64));
        offsets.push(items.len() as u64);
    }
    let ids: StringColumn = (0..10).map(|i| i.to_string()).collect();
    let users: StringColumn = (0..histories.len()).map(|u| u.to_string()).collect();
    let sequences = Sequences::new(offsets, items, Some(times)).unwrap();
    Dataset::new(ItemTable::new(ids), users, sequences).unwrap()
}

fn split(data: &Dataset, spec: Spec) -> Result<Splits> {
    let mut catalog = Catalog::new("data.split");
    register_splits(&mut catalog).unwrap();
    catalog.build(&spec, &())?.split(data)
}

fn numbers(items: &[ItemId]) -> Vec<u32> {
    items.iter().map(|i| i.0).collect()
}

fn case(set: &EvalSet, c: usize) -> (u32, Vec<u32>, Vec<u32>) {
    (set.user(c).0, numbers(set.history(c)), numbers(set.target(c)))
}

#[test]
fn leave_one_out_by_hand() {
    let data = world(&[&[1, 2, 3, 4], &[5], &[6, 7], &[8, 9, 8], &[]]);
    let s = split(&data, Spec::new("data.split", "leave-one-out")).unwrap();
    assert_eq!(s.train.len(), 5);
    assert_eq!(numbers(s.train.all_items()), [1, 2, 5, 6, 7, 8]);
    assert_eq!(s.train.times(UserId(0)).unwrap(), [0, 10]);
    assert_eq!((s.valid.len(), s.test.len()), (2, 2));
    assert_eq!(case(&s.valid, 0), (0, vec![1, 2], vec![3]));
    assert_eq!(case(&s.test, 0), (0, vec![1, 2, 3], vec![4]));
    assert_eq!(case(&s.test, 1), (3, vec![8, 9], vec![8]));
    assert_eq!(s.test.times(1).unwrap(), [3, 13]);
    assert_eq!(s.test.request(1).history, s.test.history(1));
    let r = &s.report;
    assert_eq!((r.train_interactions, r.train_only_users, r.cold_cases), (6, 3, 0));
}

#[test]
fn a_split_without_a_test_case_is_an_error() {
    let data = world(&[&[1, 2], &[5]]);
    let err = split(&data, Spec::new("data.split", "leave-one-out")).unwrap_err().to_string();
    assert!(err.contains("no test case") && err.contains("2 users"), "{err}");
}

#[test]
fn ratio_by_hand() {
    let data = world(&[&[0, 1, 2, 3, 4, 5, 6, 7, 8, 7], &[1, 2, 3], &[1, 2]]);
    let spec = Spec::new("data.split", "ratio").with("valid", 0.1).with("test", 0.3);
    let s = split(&data, spec.clone()).unwrap();
    assert_eq!(case(&s.valid, 0), (0, vec![0, 1, 2, 3, 4, 5], vec![6]));
    // 7 is taken twice and counts once.
    assert_eq!(case(&s.test, 0), (0, vec![0, 1, 2, 3, 4, 5, 6], vec![7, 8]));
    assert_eq!(case(&s.test, 1), (1, vec![1, 2], vec![3]));
    assert_eq!(numbers(s.train.items(UserId(2))), [1, 2]);
    let s = split(&data, spec.with("targets", "next")).unwrap();
    assert_eq!(numbers(s.test.target(0)), [7]);
    for (key, value) in [("valid", 1.0), ("valid", -0.1), ("test", 0.95)] {
        let spec = Spec::new("data.split", "ratio").with(key, value);
        let err = split(&data, spec).unwrap_err().to_string();
        assert!(err.contains("data.split"), "{err}");
    }
    // 30 * 0.1 is 3, whatever binary fractions say.
    let long: Vec<u32> = (0..30).map(|i| i % 10).collect();
    let s = split(&world(&[&long]), Spec::new("data.split", "ratio")).unwrap();
    assert_eq!((s.train.all_items().len(), s.valid.target(0).len()), (24, 3));
}

#[test]
fn global_time_by_hand() {
    // Times: user 0 at 0, 10, 20, 30; user 1 at 1, 11; user 2 at 2.
    let data = world(&[&[1, 2, 3, 4], &[5, 6], &[7]]);
    let spec = Spec::new("data.split", "global-time");
    let times = spec.clone().with("valid_time", 10).with("test_time", 20);
    let s = split(&data, times).unwrap();
    assert_eq!(numbers(s.train.all_items()), [1, 5, 7]);
    assert_eq!(case(&s.valid, 0), (0, vec![1], vec![2]));
    assert_eq!(case(&s.valid, 1), (1, vec![5], vec![6]));
    assert_eq!(case(&s.test, 0), (0, vec![1, 2], vec![3, 4]));
    assert_eq!(s.report.train_only_users, 1);
    // The first second of all: nobody has a history before it.
    let early = split(&data, spec.clone().with("valid_time", 0).with("test_time", 10)).unwrap();
    assert_eq!(early.report.cold_cases, 3);
    assert_eq!(early.test.len(), 2);
    // Shares: 7 rows, the last 2 by time test (20, 30), the 2 before validate (10, 11).
    let shares = split(&data, spec.clone().with("valid", 0.28).with("test", 0.28)).unwrap();
    assert_eq!(numbers(shares.train.all_items()), [1, 5, 7]);
    assert_eq!(shares.test.len(), 1);
    let err = split(&data, spec.clone().with("valid_time", 30).with("test_time", 20));
    assert!(err.unwrap_err().to_string().contains("data.split.valid_time"));
    let mut blind = data.clone();
    blind.interactions = Sequences::default();
    blind.interactions.push(&[ItemId(1)]);
    assert!(split(&blind, spec).unwrap_err().to_string().contains("needs times"));
}

#[test]
fn equal_times_fall_on_one_side() {
    let ids: StringColumn = (0..10).map(|i| i.to_string()).collect();
    let items: Vec<ItemId> = (0..10).map(ItemId).collect();
    let times = vec![1, 5, 5, 5, 5, 5, 5, 5, 5, 5];
    let sequences = Sequences::new(vec![0, 10], items, Some(times)).unwrap();
    let data = Dataset::new(ItemTable::new(ids), ["u"].iter().collect(), sequences).unwrap();
    let spec = Spec::new("data.split", "global-time").with("valid", 0.0).with("test", 0.3);
    let s = split(&data, spec).unwrap();
    assert_eq!((s.train.all_items().len(), s.test.target(0).len()), (1, 9));
}

#[test]
fn given_keeps_parts_in_order() {
    let mut data = world(&[&[1, 2, 3, 4], &[5, 6]]);
    let spec = Spec::new("data.split", "given");
    assert!(split(&data, spec.clone()).unwrap_err().to_string().contains("given"));
    use Part::{Test, Train, Valid};
    data.parts = Some(vec![Train, Valid, Train, Test, Train, Test]);
    let s = split(&data, spec.clone()).unwrap();
    assert_eq!(numbers(s.train.all_items()), [1, 3, 5]);
    assert_eq!(case(&s.valid, 0), (0, vec![1, 3], vec![2]));
    assert_eq!(case(&s.test, 0), (0, vec![1, 3, 2], vec![4]));
    assert_eq!(case(&s.test, 1), (1, vec![5], vec![6]));
    assert!(s.train.all_times().is_none());
    data.parts = Some(vec![Train, Train, Valid, Test, Train, Test]);
    assert_eq!(split(&data, spec).unwrap().test.times(0).unwrap(), [0, 10, 20]);
}
