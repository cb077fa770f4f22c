//! Learning-rate schedules: a factor on the base rate by update number.

use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Result, Spec};

/// Linear warm-up, then one of several shapes. `warmup_steps` of 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Stays at 1.
    Constant {
        /// Updates until the full rate.
        #[serde(default)]
        warmup_steps: u64,
    },
    /// `r + (1 - r) (1 + cos(pi p)) / 2` with `r` the `min_ratio` and `p` the part done of the
    /// steps after warm-up (GRID's scheduler).
    Cosine {
        /// Updates until the full rate.
        #[serde(default)]
        warmup_steps: u64,
        /// Updates until the lowest rate; it stays there.
        total_steps: u64,
        /// The lowest factor, 0 to 1 (GRID: 0.1).
        #[serde(default = "tenth")]
        min_ratio: f64,
    },
    /// `sqrt(h / step)` from `h = max(hold_steps, warmup_steps, 1)` on. TIGER: no warm-up, hold
    /// 10,000.
    InverseSqrt {
        /// Updates until the full rate.
        #[serde(default)]
        warmup_steps: u64,
        /// Updates until the rate begins to fall.
        #[serde(default)]
        hold_steps: u64,
    },
    /// A straight line down to `min_ratio`.
    Linear {
        /// Updates until the full rate.
        #[serde(default)]
        warmup_steps: u64,
        /// Updates until the lowest rate; it stays there.
        total_steps: u64,
        /// The lowest factor, 0 to 1.
        #[serde(default)]
        min_ratio: f64,
    },
}

fn tenth() -> f64 {
    0.1
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule::Constant { warmup_steps: 0 }
    }
}

impl Schedule {
    /// From a spec such as `{type = "cosine", total_steps = 1000}`.
    pub fn from_spec(spec: &Spec) -> Result<Self> {
        let mut map = spec.options.clone();
        map.insert("type".into(), spec.name.clone().into());
        let schedule: Schedule = serde_json::from_value(map.into())
            .map_err(|e| Error::config(spec.section.as_str(), e.to_string()))?;
        schedule.validate(&spec.section)?;
        Ok(schedule)
    }

    /// Refuses values out of range; `section` prefixes keys.
    pub fn validate(&self, section: &str) -> Result<()> {
        let (Schedule::Cosine { warmup_steps, total_steps, min_ratio }
        | Schedule::Linear { warmup_steps, total_steps, min_ratio }) = *self
        else {
            return Ok(());
        };
        if total_steps <= warmup_steps {
            return Err(Error::config(
                format!("{section}.total_steps"),
                format!("{total_steps} must be above warmup_steps ({warmup_steps})"),
            ));
        }
        if !(0.0..=1.0).contains(&min_ratio) {
            return Err(Error::config(
                format!("{section}.min_ratio"),
                format!("{min_ratio} is out of range; allowed: 0 to 1"),
            ));
        }
        Ok(())
    }

    /// Factor on the rate of update `step`, counted from 0. Warm-up begins at
    /// `1 / warmup_steps`, not at 0, so that no update is lost.
    pub fn factor(&self, step: u64) -> f64 {
        let (Schedule::Constant { warmup_steps: warm }
        | Schedule::Cosine { warmup_steps: warm, .. }
        | Schedule::InverseSqrt { warmup_steps: warm, .. }
        | Schedule::Linear { warmup_steps: warm, .. }) = *self;
        if step < warm {
            return (step + 1) as f64 / warm as f64;
        }
        let done = |total: u64| {
            let span = total.saturating_sub(warm).max(1);
            ((step - warm) as f64 / span as f64).min(1.0)
        };
        match *self {
            Schedule::Constant { .. } => 1.0,
            Schedule::Cosine { total_steps, min_ratio, .. } => {
                let wave = 0.5 * (1.0 + (std::f64::consts::PI * done(total_steps)).cos());
                min_ratio + (1.0 - min_ratio) * wave
            }
            Schedule::InverseSqrt { hold_steps, .. } => {
                let hold = hold_steps.max(warm).max(1);
                (hold as f64 / (step + 1).max(hold) as f64).sqrt()
            }
            Schedule::Linear { total_steps, min_ratio, .. } => {
                1.0 - (1.0 - min_ratio) * done(total_steps)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_by_hand() {
        let check = |s: Schedule, want: &[(u64, f64)]| {
            for &(step, f) in want {
                assert!((s.factor(step) - f).abs() < 1e-12, "{step}: {} {f}", s.factor(step));
            }
        };
        let s = Schedule::Cosine { warmup_steps: 4, total_steps: 12, min_ratio: 0.1 };
        check(s, &[(0, 0.25), (3, 1.0), (4, 1.0), (8, 0.55), (12, 0.1), (99, 0.1)]);
        let s = Schedule::Linear { warmup_steps: 0, total_steps: 10, min_ratio: 0.5 };
        check(s, &[(0, 1.0), (5, 0.75), (10, 0.5), (11, 0.5)]);
        let s = Schedule::InverseSqrt { warmup_steps: 0, hold_steps: 100 };
        check(s, &[(0, 1.0), (99, 1.0), (399, 0.5)]);
        let s = Schedule::InverseSqrt { warmup_steps: 10, hold_steps: 0 };
        check(s, &[(4, 0.5), (9, 1.0), (39, 0.5)]);
        check(Schedule::default(), &[(0, 1.0), (1, 1.0), (1 << 40, 1.0)]);
    }

    #[test]
    fn reads_specs_and_names_what_is_wrong() {
        let spec = |name: &str| Spec::new("train.schedule", name);
        let s = Schedule::from_spec(&spec("cosine").with("total_steps", 10)).unwrap();
        assert_eq!(s, Schedule::Cosine { warmup_steps: 0, total_steps: 10, min_ratio: 0.1 });
        let message = |s: Spec| Schedule::from_spec(&s).unwrap_err().to_string();
        assert!(message(spec("cosine")).contains("total_steps"));
        assert!(message(spec("sine")).contains("inverse-sqrt"));
        assert!(message(spec("constant").with("warm", 1)).contains("warmup_steps"));
        let low = spec("linear").with("total_steps", 5).with("warmup_steps", 5);
        assert!(message(low).contains("train.schedule.total_steps"));
        let high = spec("linear").with("total_steps", 5).with("min_ratio", 2.0);
        assert!(message(high).contains("train.schedule.min_ratio"));
    }
}
