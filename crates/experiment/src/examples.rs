//! Training samples as the trainer wants them: by number, filled into batches.

use sidereal_core::{Result, Sequences, SidTable};
use sidereal_data::{Augment, Samples};
use sidereal_nn::{Batch, BatchBuilder};
use sidereal_train::Examples;
use std::sync::Arc;

/// All samples of the training histories; nothing is copied.
pub struct TrainingExamples<'a> {
    sequences: &'a Sequences,
    samples: Samples,
    augment: Augment,
    builder: BatchBuilder,
    /// Tokens of an item: its codes and a separator, or one vector.
    tokens: usize,
}

impl<'a> TrainingExamples<'a> {
    /// Samples with at most `max_history` items before a target.
    pub fn new(
        sequences: &'a Sequences,
        augment: Augment,
        sids: Option<Arc<SidTable>>,
        max_history: usize,
    ) -> Self {
        let tokens = sids.as_ref().map_or(1, |t| t.max_len() + 1);
        TrainingExamples {
            sequences,
            samples: Samples::new(sequences, augment, max_history),
            augment,
            builder: BatchBuilder::new(sids, max_history),
            tokens,
        }
    }

    /// The histories that samples are cut from.
    pub fn sequences(&self) -> &'a Sequences {
        self.sequences
    }
}

impl Examples for TrainingExamples<'_> {
    fn len(&self) -> usize {
        self.samples.len() as usize
    }

    fn cost(&self, i: usize) -> usize {
        let sample = self.samples.get(i as u64);
        (sample.end - sample.start) * self.tokens
    }

    fn fill(&self, ids: &[usize], batch: &mut Batch) -> Result<()> {
        self.builder.clear(batch);
        for &i in ids {
            let sample = self.samples.get(i as u64);
            match self.augment {
                Augment::Packed => {
                    self.builder.push_every(batch, sample.items(self.sequences))?;
                }
                _ => {
                    let target = sample.target(self.sequences);
                    self.builder.push_next(batch, sample.history(self.sequences), target)?;
                }
            }
            if let Some((_, before)) = sample.times(self.sequences).and_then(<[i64]>::split_last) {
                self.builder.push_times(batch, before)?;
            }
            self.builder.push_user(batch, Some(sample.user));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::{ItemId, UserId};

    #[test]
    fn samples_fill_batches() {
        let mut sequences = Sequences::default();
        sequences.push(&[0, 1, 2].map(ItemId));
        sequences.push(&[3].map(ItemId));
        sequences.push(&[4, 5].map(ItemId));
        let mut batch = Batch::default();
        let contiguous = TrainingExamples::new(&sequences, Augment::Contiguous, None, 9);
        assert_eq!(contiguous.len(), 4);
        contiguous.fill(&[3, 1], &mut batch).unwrap();
        assert_eq!(batch.users, [Some(UserId(2)), Some(UserId(0))]);
        assert_eq!(
            (batch.history(0), batch.history(1)),
            (&[ItemId(4)][..], &[0, 1].map(ItemId)[..])
        );
        assert_eq!((batch.targets[0].item, batch.targets[1].item), (ItemId(5), ItemId(2)));
        let packed = TrainingExamples::new(&sequences, Augment::Packed, None, 9);
        assert_eq!((packed.len(), packed.cost(0)), (2, 3));
        packed.fill(&[0], &mut batch).unwrap();
        assert_eq!((batch.rows(), batch.targets.len()), (1, 2));
        assert!(batch.times.is_empty());
    }

    #[test]
    fn batches_have_the_times_of_their_histories() {
        let items = [0, 1, 2, 3].map(ItemId).to_vec();
        let times = Some(vec![50, 60, 70, 80]);
        let sequences = Sequences::new(vec![0, 4], items, times).unwrap();
        let mut batch = Batch::default();
        let fill = |augment, i, batch: &mut Batch| {
            TrainingExamples::new(&sequences, augment, None, 2).fill(&[i], batch).unwrap();
            assert_eq!(batch.times.len(), batch.items.len());
            batch.items.iter().zip(&batch.times).all(|(i, t)| *t == 50 + 10 * i64::from(i.0))
        };
        for i in 0..3 {
            assert!(fill(Augment::Prefix, i, &mut batch), "{:?} {:?}", batch.items, batch.times);
        }
        assert!(fill(Augment::Packed, 0, &mut batch), "{:?} {:?}", batch.items, batch.times);
    }
}
