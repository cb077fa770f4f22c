//! Nothing that trains is later than what it should foretell, as far as the split promises it.
//!
//! Histories are in order of time, so a place in a history stands for its time. Where an item occurs
//! several times, training is taken to have the earliest occurrences and targets the latest: the
//! reading that accuses least.

use super::{Finding, Verdict};
use crate::stages::data::Data;
use sidereal_core::{ItemId, UserId};
use sidereal_data::TimeOrder;

/// The findings `later-of-the-user` and `future-in-training`.
pub fn times(data: &Data, order: TimeOrder) -> Vec<Finding> {
    let places = Places::of(data);
    vec![later_of_the_user(data, &places, order), future(data, &places, order)]
}

/// For each user the places of training and of targets in the history.
struct Places {
    /// Last place of a training interaction, by user; none without any.
    trained: Vec<Option<usize>>,
    /// User and first place of the targets of each validation and test case.
    targets: Vec<(UserId, usize)>,
    /// Times of training interactions, where the data have times.
    training_times: Vec<i64>,
}

impl Places {
    fn of(data: &Data) -> Self {
        let all = &data.dataset.interactions;
        let mut places = Places {
            trained: vec![None; all.len()],
            targets: Vec::new(),
            training_times: Vec::new(),
        };
        let mut counts = vec![0u32; data.dataset.items.len()];
        for (user, items) in all.iter().take(data.train.len()) {
            let trained = data.train.items(user);
            trained.iter().for_each(|i| counts[i.index()] += 1);
            for (place, item) in items.iter().enumerate() {
                if counts[item.index()] > 0 {
                    counts[item.index()] -= 1;
                    places.trained[user.index()] = Some(place);
                    places.training_times.extend(all.times(user).map(|t| t[place]));
                }
            }
            trained.iter().for_each(|i| counts[i.index()] = 0);
        }
        for set in [&data.splits.valid, &data.splits.test] {
            for c in 0..set.len() {
                let user = set.user(c);
                let place = |t: &ItemId| all.items(user).iter().rposition(|i| i == t);
                let first = set.target(c).iter().filter_map(place).min();
                places.targets.extend(first.map(|place| (user, place)));
            }
        }
        places
    }
}

fn later_of_the_user(data: &Data, places: &Places, order: TimeOrder) -> Finding {
    let check = "later-of-the-user";
    let later = places.targets.iter().filter(|(user, place)| {
        places.trained[user.index()].is_some_and(|trained| trained > *place)
    });
    let cases = later.count();
    let total = places.targets.len();
    match (cases, order) {
        (0, _) => Finding::new(check, Verdict::Clean, "no user trains on what came after a target"),
        (_, TimeOrder::Free) => Finding::new(
            check,
            Verdict::Suspicious,
            format!(
                "{cases} of {total} cases train on later interactions of the same user, as the \
                 split was given: figures are not those of foretelling"
            ),
        ),
        _ => Finding::new(
            check,
            Verdict::Leak,
            format!(
                "{cases} of {total} cases train on later interactions of the same user{}",
                first_user(data, places)
            ),
        ),
    }
}

fn first_user(data: &Data, places: &Places) -> String {
    let later = |(user, place): &&(UserId, usize)| {
        places.trained[user.index()].is_some_and(|trained| trained > *place)
    };
    let first = places.targets.iter().find(later).map(|(user, _)| user.index());
    first.map_or(String::new(), |u| format!(", the first: user {}", data.dataset.user_ids.get(u)))
}

fn future(data: &Data, places: &Places, order: TimeOrder) -> Finding {
    let check = "future-in-training";
    let all = &data.dataset.interactions;
    let time = |(user, place): &(UserId, usize)| all.times(*user).map(|t| t[*place]);
    let mut targets: Vec<i64> = places.targets.iter().filter_map(time).collect();
    if targets.is_empty() || places.training_times.is_empty() {
        return Finding::new(check, Verdict::Unknown, "the data have no times");
    }
    targets.sort_unstable();
    let after = |point: i64| places.training_times.iter().filter(|&&t| t >= point).count();
    let total = places.training_times.len();
    if order == TimeOrder::Global {
        let (point, late) = (targets[0], after(targets[0]));
        return match late {
            0 => Finding::new(
                check,
                Verdict::Clean,
                format!("training ends before the first target at {point}"),
            ),
            _ => Finding::new(
                check,
                Verdict::Leak,
                format!(
                    "{late} of {total} training interactions are not earlier than the first \
                     target at {point}, though the split is one of time"
                ),
            ),
        };
    }
    let share = 100.0 * after(targets[targets.len() / 2]) as f64 / total as f64;
    let text = format!(
        "not promised by this split: {share:.1} % of the training interactions are later than the \
         median target"
    );
    Finding::new(check, Verdict::Clean, text)
}
