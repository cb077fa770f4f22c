//! Which run begins next, where several run side by side.
//!
//! A run does not begin while another makes a stage that it needs: it would wait for it in a place
//! where a third could work. Nor does it begin where it would take more memory than there is. The
//! cores are shared out among as many runs as have work of their own.

use super::plan::{Stage, StageKind};
use std::collections::{BTreeMap, BTreeSet};

/// What runs may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Runs side by side, 1 and up.
    pub jobs: usize,
    /// Bytes of memory of all runs together.
    pub memory: Option<u64>,
    /// Cores of all runs together, 1 and up.
    pub cores: usize,
}

impl Default for Budget {
    /// One run, on all cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Budget { jobs: 1, memory: None, cores }
    }
}

/// A run that may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// Its number.
    pub run: usize,
    /// Threads that it has.
    pub threads: usize,
}

/// Runs that wait, and what those make that have begun.
pub(super) struct Schedule {
    budget: Budget,
    finished: BTreeSet<String>,
    waiting: BTreeMap<usize, Vec<Stage>>,
    running: BTreeMap<usize, Vec<Stage>>,
}

impl Schedule {
    /// Nothing waits yet.
    pub fn new(budget: Budget) -> Self {
        let (finished, waiting, running) = Default::default();
        Schedule { budget, finished, waiting, running }
    }

    /// A run of these stages waits.
    pub fn add(&mut self, run: usize, stages: Vec<Stage>) {
        self.waiting.insert(run, stages);
    }

    /// A stage is there, whoever made it.
    pub fn finish(&mut self, id: &str) {
        self.finished.insert(id.into());
    }

    /// A run that has begun is done with a stage.
    pub fn passed(&mut self, run: usize, kind: StageKind) {
        let stage = self.running.get(&run).and_then(|all| all.iter().find(|s| s.kind == kind));
        if let Some(id) = stage.map(|s| s.id.clone()) {
            self.finished.insert(id);
        }
    }

    /// A run has ended, well or not.
    pub fn ended(&mut self, run: usize) {
        self.running.remove(&run);
    }

    /// Whether nothing runs.
    pub fn idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Runs that have not ended.
    pub fn all(&self) -> impl Iterator<Item = usize> {
        self.waiting.keys().chain(self.running.keys()).copied()
    }

    /// Takes a run off that has not begun; whether there was such a one.
    pub fn withdraw(&mut self, run: usize) -> bool {
        self.waiting.remove(&run).is_some()
    }

    /// The run that may begin now, if any; `memory` is what a run is expected to take. One that
    /// nothing is known of runs alone under a budget of memory.
    pub fn next(&mut self, memory: impl Fn(usize) -> Option<u64>) -> Option<Start> {
        if self.running.len() >= self.budget.jobs {
            return None;
        }
        let made: BTreeSet<&str> = self
            .running
            .values()
            .flatten()
            .map(|s| s.id.as_str())
            .filter(|id| self.open(id))
            .collect();
        let free = match self.budget.memory {
            None => Some(u64::MAX),
            Some(all) => self
                .running
                .keys()
                .try_fold(all, |left, &run| Some(left.saturating_sub(memory(run)?))),
        };
        let may = |(run, stages): &(&usize, &Vec<Stage>)| {
            let apart = stages.iter().all(|s| !made.contains(s.id.as_str()));
            let fits = self.running.is_empty()
                || self.budget.memory.is_none()
                || free.zip(memory(**run)).is_some_and(|(free, need)| need <= free);
            apart && fits
        };
        let run = *self.waiting.iter().find(may)?.0;
        let threads = (self.budget.cores / self.peers()).max(1);
        let stages = self.waiting.remove(&run)?;
        self.running.insert(run, stages);
        Some(Start { run, threads })
    }

    fn open(&self, id: &str) -> bool {
        !self.finished.contains(id)
    }

    /// Runs that can work side by side: those that wait and would train the same model count once.
    fn peers(&self) -> usize {
        let own = |stages: &Vec<Stage>| {
            let training =
                stages.iter().find(|s| s.kind == StageKind::Training && self.open(&s.id));
            training.or(stages.last()).map(|s| s.id.clone())
        };
        let all = self.waiting.values().chain(self.running.values());
        let distinct: BTreeSet<String> = all.filter_map(own).collect();
        distinct.len().clamp(1, self.budget.jobs.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stages by letters, as in `dvita`: data, vectors, IDs, training, evaluation.
    fn run(ids: &str) -> Vec<Stage> {
        let stage = |(kind, id): (StageKind, char)| Stage {
            kind,
            component: String::new(),
            id: format!("{kind}{id}"),
            alike: String::new(),
        };
        StageKind::ALL.into_iter().zip(ids.chars()).map(stage).collect()
    }

    fn schedule(jobs: usize, memory: Option<u64>, runs: &[&str]) -> Schedule {
        let mut s = Schedule::new(Budget { jobs, memory, cores: 4 });
        runs.iter().enumerate().for_each(|(i, r)| s.add(i, run(r)));
        s
    }

    fn next(s: &mut Schedule) -> Option<(usize, usize)> {
        s.next(|_| None).map(|s| (s.run, s.threads))
    }

    #[test]
    fn runs_that_need_what_another_makes_wait_and_others_go_first() {
        // 1 shares the training of 0; 2 the IDs; 3 nothing but the data, which are there.
        let mut s = schedule(2, None, &["11111", "11112", "11123", "12344"]);
        s.finish("data1");
        // Three trainings wait; two side by side share four cores.
        assert_eq!(next(&mut s), Some((0, 2)));
        assert_eq!(next(&mut s), Some((3, 2)));
        assert_eq!(next(&mut s), None);
        s.ended(3);
        assert_eq!(next(&mut s), None);
        [StageKind::Vectors, StageKind::Ids].into_iter().for_each(|k| s.passed(0, k));
        assert_eq!(next(&mut s), Some((2, 2)));
        s.ended(2);
        assert_eq!(next(&mut s), None);
        // Where the maker fails, the next in line makes it, and has all cores.
        s.ended(0);
        assert_eq!(next(&mut s), Some((1, 4)));
        s.ended(1);
        assert!(next(&mut s).is_none() && s.idle());
    }

    #[test]
    fn one_training_has_all_cores_and_its_evaluations_share_them() {
        let mut s = schedule(4, None, &["11111", "11112", "11113", "11114", "11115"]);
        assert_eq!((next(&mut s), next(&mut s)), (Some((0, 4)), None));
        StageKind::ALL[..4].iter().for_each(|&k| s.passed(0, k));
        assert_eq!((next(&mut s), next(&mut s)), (Some((1, 1)), Some((2, 1))));
        assert_eq!((next(&mut s), next(&mut s)), (Some((3, 1)), None));
    }

    #[test]
    fn memory_is_kept_and_the_unknown_runs_alone() {
        let need = |run: usize| [Some(6), Some(5), Some(4), None][run];
        let mut s = schedule(4, Some(10), &["11111", "22222", "33333", "44444"]);
        let go = |s: &mut Schedule| s.next(need).map(|s| s.run);
        assert_eq!([go(&mut s), go(&mut s), go(&mut s)], [Some(0), Some(2), None]);
        s.ended(0);
        assert_eq!([go(&mut s), go(&mut s)], [Some(1), None]);
        s.ended(1);
        assert_eq!(go(&mut s), None);
        s.ended(2);
        assert_eq!([go(&mut s), go(&mut s)], [Some(3), None]);
    }
}
