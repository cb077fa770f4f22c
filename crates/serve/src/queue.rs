//! A bounded queue that gives batches.
//!
//! A worker takes what waits, up to the size of a batch. It waits for more only where more is
//! expected: [`Pace`] remembers the last batch, and a worker that found the queue empty for longer
//! than the longest wait expects nothing. So a lone request is answered at once, and clients that
//! come together again after a batch are taken together.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why something was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many wait as may.
    Full,
    /// The queue is closed.
    Closed,
}

/// Sizes and times of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most that wait.
    pub capacity: usize,
    /// Most of a batch.
    pub batch: usize,
    /// How long the oldest of a batch waits for others.
    pub wait: Duration,
}

/// What one worker expects of its next batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    expected: usize,
}

/// The queue.
pub struct Queue<T> {
    bounds: Bounds,
    inner: Mutex<Inner<T>>,
    changed: Condvar,
}

struct Inner<T> {
    waiting: VecDeque<(Instant, T)>,
    closed: bool,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new(bounds: Bounds) -> Self {
        let inner = Inner { waiting: VecDeque::new(), closed: false };
        Queue { bounds, inner: Mutex::new(inner), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Nothing below panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends; never blocks.
    pub fn push(&self, job: T) -> Result<(), Refused> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refused::Closed);
        }
        if inner.waiting.len() >= self.bounds.capacity {
            return Err(Refused::Full);
        }
        inner.waiting.push_back((Instant::now(), job));
        drop(inner);
        self.changed.notify_one();
        Ok(())
    }

    /// Number that waits.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses what comes from now on; what waits is still given.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The next batch: the oldest and those right behind it that go `together` with it. Blocks
    /// until there is one; `None` once the queue is closed and empty.
    pub fn take(&self, pace: &mut Pace, together: impl Fn(&T, &T) -> bool) -> Option<Vec<T>> {
        let began = Instant::now();
        let mut inner = self.lock();
        loop {
            let Some((since, _)) = inner.waiting.front() else {
                if inner.closed {
                    return None;
                }
                inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let until = *since + self.bounds.wait;
            // Idle before the oldest came: nobody comes back from an earlier batch.
            if since.saturating_duration_since(began) > self.bounds.wait {
                pace.expected = 1;
            }
            let now = Instant::now();
            let enough = pace.expected.min(self.bounds.batch);
            if inner.waiting.len() >= enough || inner.closed || now >= until {
                break;
            }
            let waited = self.changed.wait_timeout(inner, until - now);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut batch: Vec<T> = Vec::new();
        while batch.len() < self.bounds.batch
            && let Some((_, next)) = inner.waiting.front()
            && batch.first().is_none_or(|first| together(first, next))
        {
            batch.extend(inner.waiting.pop_front().map(|(_, job)| job));
        }
        pace.expected = batch.len();
        let more = !inner.waiting.is_empty();
        drop(inner);
        if more {
            self.changed.notify_one();
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn queue(capacity: usize, batch: usize, wait_ms: u64) -> Queue<u32> {
        Queue::new(Bounds { capacity, batch, wait: Duration::from_millis(wait_ms) })
    }

    fn any(_: &u32, _: &u32) -> bool {
        true
    }

    #[test]
    fn full_and_closed_queues_refuse() {
        let q = queue(2, 4, 0);
        assert_eq!((q.push(1), q.push(2), q.push(3)), (Ok(()), Ok(()), Err(Refused::Full)));
        q.close();
        assert_eq!(q.push(4), Err(Refused::Closed));
        let mut pace = Pace::default();
        assert_eq!(q.take(&mut pace, any), Some(vec![1, 2])); // what was taken in is given
        assert_eq!(q.take(&mut pace, any), None);
    }

    #[test]
    fn batches_are_bounded_and_keep_the_order() {
        let q = queue(9, 3, 1000);
        (0..7).for_each(|i| q.push(i).unwrap());
        let mut pace = Pace::default();
        assert_eq!(q.take(&mut pace, any), Some(vec![0, 1, 2]));
        assert_eq!(q.take(&mut pace, any), Some(vec![3, 4, 5]));
        q.close();
        assert_eq!(q.take(&mut pace, any), Some(vec![6]));
    }

    #[test]
    fn only_neighbours_that_go_together_share_a_batch() {
        let q = queue(9, 9, 0);
        [2, 4, 5, 7, 6].iter().for_each(|&i| q.push(i).unwrap());
        let mut pace = Pace::default();
        let parity = |a: &u32, b: &u32| a % 2 == b % 2;
        assert_eq!(q.take(&mut pace, parity), Some(vec![2, 4]));
        assert_eq!(q.take(&mut pace, parity), Some(vec![5, 7]));
        assert_eq!(q.take(&mut pace, parity), Some(vec![6]));
    }

    #[test]
    fn a_lone_request_does_not_wait_and_a_crowd_is_waited_for() {
        let q = Arc::new(queue(9, 9, 400));
        let mut pace = Pace::default();
        let timed = |q: &Queue<u32>, pace: &mut Pace| {
            let began = Instant::now();
            (q.take(pace, any).unwrap().len(), began.elapsed())
        };
        // Nothing is known: at once.
        q.push(0).unwrap();
        let (n, took) = timed(&q, &mut pace);
        assert!(n == 1 && took < Duration::from_millis(200), "{n} {took:?}");
        // A batch of one came last: at once again.
        q.push(0).unwrap();
        assert!(timed(&q, &mut pace).1 < Duration::from_millis(200));
        // Two came last and one is here: the other one is waited for, and comes.
        [0, 1].iter().for_each(|&i| q.push(i).unwrap());
        assert_eq!(timed(&q, &mut pace).0, 2);
        q.push(0).unwrap();
        let late = {
            let q = q.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                q.push(1).unwrap();
            })
        };
        let (n, took) = timed(&q, &mut pace);
        late.join().unwrap();
        assert!(n == 2 && took < Duration::from_millis(350), "{n} {took:?}");
        // Two are expected and one never comes: not for longer than the wait, and then no more.
        q.push(0).unwrap();
        let (n, took) = timed(&q, &mut pace);
        assert!(n == 1 && took >= Duration::from_millis(300), "{n} {took:?}");
        q.push(0).unwrap();
        assert!(timed(&q, &mut pace).1 < Duration::from_millis(200));
    }

    #[test]
    fn many_producers_and_workers_lose_nothing() {
        let q = Arc::new(queue(4000, 7, 1));
        let taken = std::thread::scope(|s| {
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    s.spawn(|| {
                        let (mut pace, mut all) = (Pace::default(), Vec::new());
                        while let Some(batch) = q.take(&mut pace, any) {
                            assert!(!batch.is_empty() && batch.len() <= 7);
                            all.extend(batch);
                        }
                        all
                    })
                })
                .collect();
            std::thread::scope(|p| {
                for t in 0..4 {
                    let q = &q;
                    p.spawn(move || (0..1000).for_each(|i| q.push(t * 1000 + i).unwrap()));
                }
            });
            q.close();
            let mut all: Vec<u32> = workers.into_iter().flat_map(|w| w.join().unwrap()).collect();
            all.sort_unstable();
            all
        });
        assert_eq!(taken, (0..4000).collect::<Vec<_>>());
    }
}
