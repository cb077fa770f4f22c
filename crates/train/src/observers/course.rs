//! A task in words: how far it is, its rate, the numbers that matter now, the time that is left.

use std::time::Instant;

/// A task that people watch.
pub(super) struct Course {
    pub name: String,
    unit: String,
    total: u64,
    began: Instant,
    /// When and where work was first seen: a resumed task does not start at 0.
    first: Option<Seen>,
    /// The last event in words.
    pub last: String,
}

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    done: u64,
}

impl Course {
    /// Of a task that begins now.
    pub fn new(name: &str, total: u64, unit: &str) -> Self {
        Course {
            name: name.into(),
            unit: unit.into(),
            total,
            began: Instant::now(),
            first: None,
            last: String::new(),
        }
    }

    /// Takes in an event.
    pub fn advance(&mut self, done: u64, numbers: &[(&str, f64)], now: Instant) {
        let first = *self.first.get_or_insert(Seen { at: now, done });
        let base = match done > first.done {
            true => first,
            false => Seen { at: self.began, done: 0 },
        };
        let seconds = now.duration_since(base.at).as_secs_f64();
        let rate = (done - base.done.min(done)) as f64 / seconds;
        let mut parts = vec![match self.total {
            0 => format!("{done} {}", self.unit),
            total => format!("{done}/{total} {}", self.unit),
        }];
        // A rate over less than this is noise.
        if seconds > 0.5 && done > first.done {
            parts.push(format!("{}/s", number(rate)));
            if self.total > done {
                parts.push(format!("{} left", clock((self.total - done) as f64 / rate)));
            }
        }
        parts.extend(numbers.iter().map(|(name, value)| format!("{name} {}", number(*value))));
        self.last = parts.join(", ");
    }

    /// What is left to say when it has ended.
    pub fn ended(&self) -> String {
        let took = clock(self.began.elapsed().as_secs_f64());
        let comma = if self.last.is_empty() { "" } else { ", " };
        format!("{}: {took}{comma}{}", self.name, self.last)
    }
}

/// About four digits.
fn number(v: f64) -> String {
    match v.abs() {
        a if !a.is_finite() => v.to_string(),
        a if a >= 1000.0 || a == 0.0 => format!("{v:.0}"),
        a if a >= 100.0 => format!("{v:.1}"),
        a if a >= 10.0 => format!("{v:.2}"),
        a if a >= 1e-3 => format!("{v:.4}"),
        _ => format!("{v:.2e}"),
    }
}

/// `7s`, `3m05s`, `2h07m`.
pub(super) fn clock(seconds: f64) -> String {
    // Casting saturates: an endless wait shows as a very long one.
    let s = seconds.max(0.0) as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn rate_and_rest_count_from_where_a_resumed_task_began() {
        let mut t = Course::new("train", 1000, "examples");
        let start = Instant::now();
        t.advance(500, &[], start);
        assert_eq!(t.last, "500/1000 examples");
        t.advance(600, &[("loss", 7.25)], start + Duration::from_secs(10));
        assert_eq!(t.last, "600/1000 examples, 10.00/s, 40s left, loss 7.2500");
        t.advance(400, &[], start + Duration::from_secs(20));
        assert_eq!(t.last, "400/1000 examples");
    }

    #[test]
    fn short_forms() {
        let shown: Vec<String> =
            [0.0, 12345.6, 123.45, 12.345, 0.04123, 1.5e-7, f64::NAN].map(number).into();
        assert_eq!(shown, ["0", "12346", "123.5", "12.35", "0.0412", "1.50e-7", "NaN"]);
        assert_eq!([7.9, 185.0, 7620.0].map(clock), ["7s", "3m05s", "2h07m"]);
    }
}
