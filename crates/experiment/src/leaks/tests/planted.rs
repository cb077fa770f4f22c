//! Leaks in data, split and counts.

use super::*;

#[test]
fn a_clean_world_is_clean() {
    for split in ["leave-one-out", "ratio", "global-time"] {
        let data = data_of(dataset(&histories()), split);
        let findings = of_data(&data, splitter(split).built.order()).unwrap();
        let bad: Vec<_> = findings.iter().filter(|f| f.verdict != Verdict::Clean).collect();
        assert!(bad.is_empty(), "{split}: {bad:?}");
    }
}

/// Leak 1: the test item trains. Twin: the user took it twice, and the first time trains.
#[test]
fn a_test_target_in_training() {
    let mut data = usual();
    let all = data.dataset.interactions.clone();
    trained_too(&mut data, |u| match u.0 % 10 {
        0 => vec![all.items(u)[7]],
        _ => vec![],
    });
    let finding = found(of_data(&data, TimeOrder::PerUser).unwrap(), "held-out-in-training");
    assert_eq!(finding.verdict, Verdict::Leak);
    assert!(finding.text.starts_with("40 ") && finding.text.contains("user user-0"), "{finding}");

    let mut twice = histories();
    twice.iter_mut().for_each(|h| h[7] = h[0]);
    let twin = data_of(dataset(&twice), "leave-one-out");
    assert_eq!(verdict(&twin, "held-out-in-training"), Verdict::Clean);
    assert_eq!(verdict(&twin, "target-in-history"), Verdict::Clean);
    // The same data with both occurrences in training.
    let mut leaky = twin;
    trained_too(&mut leaky, |u| vec![twice[u.index()][0]]);
    assert_eq!(verdict(&leaky, "held-out-in-training"), Verdict::Leak);
}

/// Leak 2: the target stands in the history that the model sees.
#[test]
fn a_target_in_the_history() {
    let mut data = usual();
    let set = data.splits.test.clone();
    data.splits.test = with_histories(&set, |c| [set.history(c), set.target(c)].concat());
    assert_eq!(verdict(&data, "target-in-history"), Verdict::Leak);
    // Twin: the history is cut to the most recent items, as some splits do.
    data.splits.test = with_histories(&set, |c| set.history(c)[3..].to_vec());
    assert_eq!(verdict(&data, "target-in-history"), Verdict::Clean);
}

/// Leak 3: a split in time that trains on the future.
#[test]
fn the_future_of_others_in_training() {
    let dataset = dataset(&histories());
    let last = data_of(dataset.clone(), "leave-one-out");
    let global = data_of(dataset, "global-time");
    let of = |data: &Data, order| {
        let findings = of_data(data, order).unwrap();
        found(findings, "future-in-training")
    };
    // Leave-one-out trains on what others did later; as a split in time it would be a leak.
    assert_eq!(of(&last, TimeOrder::Global).verdict, Verdict::Leak);
    assert_eq!(of(&global, TimeOrder::Global).verdict, Verdict::Clean);
    let allowed = of(&last, TimeOrder::PerUser);
    assert_eq!(allowed.verdict, Verdict::Clean);
    assert!(allowed.text.contains("not promised"), "{allowed}");
}

/// Leak 3, of one user: parts drawn by chance.
#[test]
fn the_future_of_the_user_in_training() {
    let mut data = usual();
    // The third item of a user tests, what comes after it trains.
    let all = data.dataset.interactions.clone();
    let set = data.splits.test.clone();
    data.splits.test = with_targets(&set, |c| all.items(set.user(c))[2]);
    data.splits.test = with_histories(&data.splits.test, |c| all.items(set.user(c))[..2].to_vec());
    let mut train = Sequences::default();
    for (_, items) in all.iter() {
        train.push(&[&items[..2], &items[3..6]].concat());
    }
    data.popularity = train.popularity(ITEMS as usize);
    data.train = Arc::new(train);
    let of = |order| found(of_data(&data, order).unwrap(), "later-of-the-user").verdict;
    assert_eq!(of(TimeOrder::PerUser), Verdict::Leak);
    assert_eq!(of(TimeOrder::Free), Verdict::Suspicious);
    assert_eq!(verdict(&usual(), "later-of-the-user"), Verdict::Clean);
}

/// Leak 4: the validation target trains.
#[test]
fn a_validation_target_in_training() {
    let mut data = usual();
    let all = data.dataset.interactions.clone();
    trained_too(&mut data, |u| vec![all.items(u)[6]]);
    assert_eq!(verdict(&data, "held-out-in-training"), Verdict::Leak);
    // Twin: the history of the test has it, and may.
    assert_eq!(verdict(&usual(), "held-out-in-training"), Verdict::Clean);
}

/// Leak 6: the test cases choose the checkpoint, as in repositories that validate on the test.
#[test]
fn the_test_as_validation() {
    let mut data = usual();
    data.splits.valid = data.splits.test.clone();
    assert_eq!(verdict(&data, "valid-is-test"), Verdict::Leak);
    assert_eq!(verdict(&usual(), "valid-is-test"), Verdict::Clean);
}

/// Leak 7: counts of items (of a negative sampler, say) with the held-out interactions.
#[test]
fn popularity_of_the_whole_data() {
    let mut data = usual();
    data.popularity = data.dataset.interactions.popularity(ITEMS as usize);
    let finding = found(of_data(&data, TimeOrder::PerUser).unwrap(), "popularity");
    assert_eq!(finding.verdict, Verdict::Leak);
    assert!(finding.text.contains("test included"), "{finding}");
    assert_eq!(verdict(&usual(), "popularity"), Verdict::Clean);
}

/// Leak 8: accounts that occur twice, one of them with a longer history.
#[test]
fn copied_users() {
    let mut copied = histories();
    for u in (0..copied.len()).step_by(4) {
        let more = [0u32, 1].map(|i| ItemId(draw("more", (2 * u) as u64 + u64::from(i), ITEMS)));
        copied[u + 1] = [&copied[u][..], &more].concat();
    }
    let data = data_of(dataset(&copied), "leave-one-out");
    let finding = found(of_data(&data, TimeOrder::PerUser).unwrap(), "copied-runs");
    assert_eq!(finding.verdict, Verdict::Suspicious);
    assert!(finding.text.starts_with("100 of "), "{finding}");
    assert_eq!(verdict(&usual(), "copied-runs"), Verdict::Clean);
    // The very same history twice.
    let mut twins = histories();
    for u in (0..twins.len()).step_by(4) {
        twins[u + 1] = twins[u].clone();
    }
    let data = data_of(dataset(&twins), "leave-one-out");
    assert_eq!(verdict(&data, "same-users"), Verdict::Suspicious);
    assert_eq!(verdict(&usual(), "same-users"), Verdict::Clean);
    // Everybody takes one item again and again: no run of distinct items.
    let same = vec![vec![ItemId(3); 8]; 50];
    let data = data_of(dataset(&same), "leave-one-out");
    assert_eq!(verdict(&data, "copied-runs"), Verdict::Unknown);
}

/// The world with items numbered in another order.
fn renumbered(order: impl Fn(&Data) -> Vec<u32>) -> Data {
    let data = usual();
    let mut number = vec![0; ITEMS as usize];
    for (new, old) in order(&data).into_iter().enumerate() {
        number[old as usize] = new as u32;
    }
    let rename = |h: &Vec<ItemId>| h.iter().map(|i| ItemId(number[i.index()])).collect();
    let histories: Vec<Vec<ItemId>> = histories().iter().map(rename).collect();
    data_of(dataset(&histories), "leave-one-out")
}

fn by_popularity(of: &Sequences) -> Vec<u32> {
    let counts = of.popularity(ITEMS as usize);
    let mut order: Vec<u32> = (0..ITEMS).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(counts[i as usize]), draw("tie", i.into(), 1 << 30)));
    order
}

/// Leak 9: numbers by popularity in the whole data. Twins: by popularity in training, and in order of
/// first appearance.
#[test]
fn item_numbers_that_know_the_test() {
    let whole = renumbered(|d| by_popularity(&d.dataset.interactions));
    let finding = found(of_data(&whole, TimeOrder::PerUser).unwrap(), "item-numbers");
    assert_eq!(finding.verdict, Verdict::Suspicious, "{finding}");
    let trained = renumbered(|d| by_popularity(&d.train));
    assert_eq!(verdict(&trained, "item-numbers"), Verdict::Clean);
    let appearance = renumbered(|d| {
        let mut order: Vec<u32> = Vec::new();
        let mut seen = vec![false; ITEMS as usize];
        let all = d.dataset.interactions.all_items().iter().map(|i| i.0).chain(0..ITEMS);
        for i in all {
            if !std::mem::replace(&mut seen[i as usize], true) {
                order.push(i);
            }
        }
        order
    });
    let finding = found(of_data(&appearance, TimeOrder::PerUser).unwrap(), "item-numbers");
    assert_eq!(finding.verdict, Verdict::Clean, "{finding}");
}

/// The share by hand: two items with one training interaction each, the target lower and higher.
#[test]
fn numbers_by_hand() {
    let wide = |flip: u32| {
        // Users u: items 2u and 2u + 1 once each in training, one of them is the target of the
        // user after.
        let n = 50u32;
        let histories: Vec<Vec<ItemId>> = (0..n)
            .map(|u| {
                let next = 2 * ((u + 1) % n) + flip;
                [2 * u, 2 * u + 1, 1000 + u, next].map(ItemId).to_vec()
            })
            .collect();
        found(
            of_data(&data_of(dataset(&histories), "leave-one-out"), TimeOrder::PerUser).unwrap(),
            "item-numbers",
        )
    };
    // Among the 100 items with one interaction, target 2j has 50 - j others above it:
    // the share is (50 * 51 / 2) / 2500.
    assert!(wide(0).text.contains("51.0 %"), "{}", wide(0));
    assert!(wide(1).text.contains("49.0 %"), "{}", wide(1));
}

/// Leak 9, in scores: a recommender that gives all items one score.
#[test]
fn lists_of_ties() {
    assert_eq!(numbering::ties(10, 100).verdict, Verdict::Suspicious);
    assert_eq!(numbering::ties(9, 100).verdict, Verdict::Clean);
    assert_eq!(numbering::ties(0, 0).verdict, Verdict::Clean);
}

fn with_text(name: &str, text: impl Fn(u32) -> String) -> Data {
    let mut data = usual();
    let column = (0..ITEMS).map(text).collect();
    data.dataset.items = data.dataset.items.clone().with_column(name, column).unwrap();
    data
}

/// Leak 10: a text that names what was taken next. Twin: a text that names as many ids by chance.
#[test]
fn texts_that_name_the_answer() {
    let all = histories();
    let mut next: Vec<Vec<String>> = vec![Vec::new(); ITEMS as usize];
    let mut reviewers = next.clone();
    for (u, history) in all.iter().enumerate() {
        for pair in history.windows(2) {
            next[pair[0].index()].push(format!("item-{}", pair[1].0));
            reviewers[pair[1].index()].push(format!("user-{u}"));
        }
    }
    let data = with_text("also_bought", |i| next[i as usize].join(", "));
    let finding = found(of_data(&data, TimeOrder::PerUser).unwrap(), "texts");
    assert_eq!(finding.verdict, Verdict::Suspicious);
    assert!(finding.text.contains("`also_bought` of the history names the target"), "{finding}");
    let data = with_text("reviews", |i| reviewers[i as usize].join(" wrote; "));
    let finding = found(of_data(&data, TimeOrder::PerUser).unwrap(), "texts");
    assert!(finding.text.contains("names the user's id in 400 of 400"), "{finding}");
    let twin = with_text("also_bought", |i| {
        let id = |k| format!("item-{}", draw("text", u64::from(8 * i + k), ITEMS));
        (0..8).map(id).collect::<Vec<_>>().join(", ")
    });
    assert_eq!(verdict(&twin, "texts"), Verdict::Clean);
}

#[test]
fn splits_beyond_the_data_are_refused() {
    let mut data = usual();
    data.splits.test = with_targets(&data.splits.test.clone(), |_| ItemId(ITEMS));
    let error = of_data(&data, TimeOrder::PerUser).unwrap_err().to_string();
    assert!(error.contains("item 1500 of 1500"), "{error}");
    let mut data = usual();
    data.splits.test.users[3] = UserId(USERS);
    assert!(of_data(&data, TimeOrder::PerUser).unwrap_err().to_string().contains("user 400"));
    // Interactions that nobody had.
    let mut data = usual();
    trained_too(&mut data, |u| vec![ItemId((u.0 + 7) % ITEMS); usize::from(u.0 == 5)]);
    assert_eq!(verdict(&data, "training-not-in-data"), Verdict::Leak);
}

#[test]
fn little_data_is_no_accusation() {
    let one = vec![[0u32, 1, 2].map(ItemId).to_vec()];
    let data = data_of(dataset(&one), "leave-one-out");
    let findings = of_data(&data, TimeOrder::PerUser).unwrap();
    assert!(findings.iter().all(|f| f.verdict <= Verdict::Unknown), "{findings:?}");
}
