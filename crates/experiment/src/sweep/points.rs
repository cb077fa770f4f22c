//! What a sweep varies beside its cases: combinations, lists that go together, random draws.
//!
//! ```toml
//! [sweep.grid]                    # every combination
//! "decoder.width" = [10, 20]
//!
//! [sweep.zip]                     # first with first, second with second
//! "backbone.layers" = [2, 4]
//! "backbone.d_model" = [128, 64]
//!
//! [sweep.random]                  # a value of each for every trial
//! trials = 20
//! seed = 0
//!
//! [sweep.random.over]
//! "train.lr" = { from = 1e-4, to = 1e-2, log = true }
//! "backbone.layers" = { from = 1, to = 4 }
//! "quantizer.type" = ["rq-kmeans", "rvq"]
//! ```
//!
//! A draw is a function of the seed, the key and the trial, so another key or more trials change no
//! value that was drawn before. Whole bounds give whole numbers, both bounds included; other draws
//! are rounded to four digits, so that the name of a run tells its value. Random points are drawn
//! independently of each other (Bergstra and Bengio, JMLR 2012); a trial that repeats an earlier one
//! is left out.

use crate::Config;
use serde_json::{Map, Value};
use sidereal_core::{Error, Result, component::nearest, seed};
use std::collections::BTreeSet;

/// A key with one of its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub key: String,
    pub value: Value,
}

/// Values that one run has together.
pub(super) type Point = Vec<Setting>;

/// All points of the `[sweep]` section `section` of `config`: every point of the grid with every
/// row of the zipped lists and every trial; one point without settings where nothing varies.
pub(super) fn points(config: &Config, section: &Map<String, Value>) -> Result<Vec<Point>> {
    let reader = Reader { config, section };
    let (grid, zip, random) = (reader.grid()?, reader.zip()?, reader.random()?);
    let mut keys = BTreeSet::new();
    for (name, points) in [("grid", &grid), ("zip", &zip), ("random", &random)] {
        let settings = points.first().into_iter().flatten();
        if let Some(twice) = settings.map(|s| &s.key).find(|&k| !keys.insert(k.clone())) {
            let message = format!("`{twice}` varies in another part of [sweep] already");
            return Err(reader.wrong(name, &message));
        }
    }
    Ok(product(&product(&grid, &zip), &random))
}

/// Every point of the one with every point of the other.
fn product(a: &[Point], b: &[Point]) -> Vec<Point> {
    a.iter().flat_map(|a| b.iter().map(move |b| [&a[..], &b[..]].concat())).collect()
}

struct Reader<'a> {
    config: &'a Config,
    section: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn wrong(&self, part: &str, message: &str) -> Error {
        self.config.locate(Error::config(format!("sweep.{part}"), message))
    }

    /// A table of [sweep], empty where it is not written.
    fn table(&self, part: &str) -> Result<Map<String, Value>> {
        match self.section.get(part) {
            None => Ok(Map::new()),
            Some(Value::Object(table)) => Ok(table.clone()),
            Some(other) => Err(self.wrong(part, &format!("expected a section, got {other}"))),
        }
    }

    fn list<'v>(&self, part: &str, key: &str, values: &'v Value) -> Result<&'v [Value]> {
        values.as_array().filter(|v| !v.is_empty()).map(Vec::as_slice).ok_or_else(|| {
            self.wrong(part, &format!("`{key}`: expected a list of values, got {values}"))
        })
    }

    /// All combinations.
    fn grid(&self) -> Result<Vec<Point>> {
        let mut points = vec![Point::new()];
        for (key, values) in &self.table("grid")? {
            let axis = self.list("grid", key, values)?.iter();
            let axis: Vec<Point> =
                axis.map(|v| vec![Setting { key: key.clone(), value: v.clone() }]).collect();
            points = product(&points, &axis);
        }
        Ok(points)
    }

    /// The first values together, the second ones, and so on.
    fn zip(&self) -> Result<Vec<Point>> {
        let table = self.table("zip")?;
        let mut points: Vec<Point> = Vec::new();
        for (n, (key, values)) in table.iter().enumerate() {
            let values = self.list("zip", key, values)?;
            if n == 0 {
                points = vec![Point::new(); values.len()];
            }
            if values.len() != points.len() {
                let first = table.keys().next().map_or("", String::as_str);
                let message = format!(
                    "lists that go together have one length: `{first}` has {}, `{key}` has {}",
                    points.len(),
                    values.len()
                );
                return Err(self.wrong("zip", &message));
            }
            for (point, value) in points.iter_mut().zip(values) {
                point.push(Setting { key: key.clone(), value: value.clone() });
            }
        }
        Ok(if points.is_empty() { vec![Point::new()] } else { points })
    }

    /// A point a trial, without repeats.
    fn random(&self) -> Result<Vec<Point>> {
        const KEYS: [&str; 3] = ["over", "seed", "trials"];
        if !self.section.contains_key("random") {
            return Ok(vec![Point::new()]);
        }
        let table = self.table("random")?;
        if let Some(key) = table.keys().find(|k| !KEYS.contains(&k.as_str())) {
            return Err(self.config.locate(Error::UnknownOption {
                key: format!("sweep.random.{key}"),
                known: KEYS.map(String::from).into(),
                nearest: nearest(key, KEYS),
            }));
        }
        let number = |key: &str, least: u64, default: Option<u64>| {
            let written = table.get(key).map(|v| v.as_u64().filter(|&n| n >= least));
            written.unwrap_or(default).ok_or_else(|| {
                let got = table.get(key).map_or("nothing".into(), Value::to_string);
                let message = format!("`{key}`: expected a whole number from {least}, got {got}");
                self.wrong("random", &message)
            })
        };
        let (trials, seed) = (number("trials", 1, None)?, number("seed", 0, Some(0))?);
        let over = table.get("over").and_then(Value::as_object).filter(|o| !o.is_empty());
        let over = over.ok_or_else(|| {
            self.wrong("random", "expected a section [sweep.random.over] with a range a key")
        })?;
        let ranges: Vec<(&String, Range)> = over
            .iter()
            .map(|(key, written)| {
                let range = Range::read(written);
                let wrong = |m: String| self.wrong("random.over", &format!("`{key}`: {m}"));
                range.map(|r| (key, r)).map_err(wrong)
            })
            .collect::<Result<_>>()?;
        let mut points: Vec<Point> = Vec::new();
        for trial in 0..trials {
            let draw = |(key, range): &(&String, Range)| {
                let bits = seed::key(seed, &format!("sweep.random {key}"), trial);
                // 53 bits: every value of [0, 1) that a f64 can hold at this spacing.
                let u = (bits >> 11) as f64 / (1u64 << 53) as f64;
                Setting { key: key.to_string(), value: range.at(u) }
            };
            let point: Point = ranges.iter().map(draw).collect();
            if !points.contains(&point) {
                points.push(point);
            }
        }
        Ok(points)
    }
}

/// Where random values come from.
enum Range {
    /// One of these, all alike.
    List(Vec<Value>),
    /// Numbers from `from` to `to`.
    Numbers { from: f64, to: f64, scale: Scale, whole: Whole },
}

#[derive(Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    Log,
}

#[derive(Clone, Copy, PartialEq)]
enum Whole {
    Only,
    Not,
}

impl Range {
    fn read(written: &Value) -> Result<Self, String> {
        let shape = "expected a list of values or { from = 1, to = 8 }, perhaps with log = true";
        let table = match written {
            Value::Array(values) if !values.is_empty() => return Ok(Range::List(values.clone())),
            Value::Object(table) => table,
            other => return Err(format!("{shape}; got {other}")),
        };
        let known = ["from", "log", "to"];
        let (Some(from), Some(to), true) = (
            table.get("from").filter(|v| v.is_number()),
            table.get("to").filter(|v| v.is_number()),
            table.keys().all(|k| known.contains(&k.as_str())),
        ) else {
            return Err(format!("{shape}; got {written}"));
        };
        let scale = match table.get("log") {
            None | Some(Value::Bool(false)) => Scale::Linear,
            Some(Value::Bool(true)) => Scale::Log,
            Some(other) => return Err(format!("`log` is true or false, got {other}")),
        };
        let integer = |v: &Value| v.is_i64() || v.is_u64();
        let whole = if integer(from) && integer(to) { Whole::Only } else { Whole::Not };
        let (from, to) = (from.as_f64().unwrap_or(f64::NAN), to.as_f64().unwrap_or(f64::NAN));
        // Above 2^53 whole numbers have no exact place among floats.
        let exact = |v: f64| v.abs() <= 9.007_199_254_740_992e15;
        if from >= to || !exact(from) || !exact(to) {
            return Err(format!("`from` must be below `to`, got {written}"));
        }
        if scale == Scale::Log && from <= 0.0 {
            return Err(format!("with `log`, `from` must be above 0, got {written}"));
        }
        Ok(Range::Numbers { from, to, scale, whole })
    }

    /// The value at `u` from 0 to below 1.
    fn at(&self, u: f64) -> Value {
        match self {
            Range::List(values) => {
                let at = (u * values.len() as f64) as usize;
                values[at.min(values.len() - 1)].clone()
            }
            &Range::Numbers { from, to, scale, whole } => {
                // A whole number stands for the interval up to the next.
                let end = if whole == Whole::Only { to + 1.0 } else { to };
                let x = match scale {
                    Scale::Linear => from + u * (end - from),
                    Scale::Log => (from.ln() + u * (end / from).ln()).exp(),
                };
                match whole {
                    Whole::Only => Value::from(x.floor().clamp(from, to) as i64),
                    Whole::Not => Value::from(rounded(x).clamp(from, to)),
                }
            }
        }
    }
}

/// Four digits, wherever the point stands.
fn rounded(x: f64) -> f64 {
    format!("{x:.3e}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(section: Value) -> Result<Vec<Vec<(String, Value)>>> {
        let config = Config::parse("", "x.toml")?;
        let points = points(&config, section.as_object().unwrap())?;
        Ok(points.into_iter().map(|p| p.into_iter().map(|s| (s.key, s.value)).collect()).collect())
    }

    fn error(section: Value) -> String {
        read(section).unwrap_err().to_string()
    }

    #[test]
    fn nothing_is_one_point_and_zipped_lists_are_rows() {
        assert_eq!(read(json!({})).unwrap(), [vec![]]);
        let got = read(json!({"zip": {"a": [1, 2], "b": ["x", "y"]}, "grid": {"c": [3, 4]}}));
        let row = |c: i64, a: i64, b: &str| {
            [("c", json!(c)), ("a", json!(a)), ("b", json!(b))]
                .map(|(k, v)| (k.to_string(), v))
                .to_vec()
        };
        assert_eq!(got.unwrap(), [row(3, 1, "x"), row(3, 2, "y"), row(4, 1, "x"), row(4, 2, "y")]);
    }

    #[test]
    fn draws_depend_on_seed_key_and_trial_alone() {
        let over =
            json!({"lr": {"from": 1e-4, "to": 1e-2, "log": true}, "n": {"from": 1, "to": 9}});
        let few = read(json!({"random": {"trials": 5, "over": over}})).unwrap();
        let more = read(json!({"random": {"trials": 50, "over": over}})).unwrap();
        assert_eq!(few[..], more[..5]);
        assert!(few != read(json!({"random": {"trials": 5, "seed": 1, "over": over}})).unwrap());
        let alone = json!({"lr": {"from": 1e-4, "to": 1e-2, "log": true}});
        let alone = read(json!({"random": {"trials": 5, "over": alone}})).unwrap();
        assert!(alone.iter().zip(&few).all(|(a, b)| a[0] == b[0]));
    }

    /// Shares of halves and of each whole number against their expectation, five deviations wide.
    #[test]
    fn draws_fill_their_ranges_evenly() {
        const N: usize = 4000;
        let trials = |range: Value| -> Vec<f64> {
            let range = Range::read(&range).unwrap();
            let u = |i| (seed::key(7, "test", i) >> 11) as f64 / (1u64 << 53) as f64;
            (0..N as u64).map(|i| range.at(u(i)).as_f64().unwrap()).collect()
        };
        let near = |count: usize, p: f64| {
            let (mean, deviation) = (N as f64 * p, (N as f64 * p * (1.0 - p)).sqrt());
            assert!((count as f64 - mean).abs() < 5.0 * deviation, "{count}, expected {mean}");
        };
        let log = trials(json!({"from": 1e-4, "to": 1e-2, "log": true}));
        assert!(log.iter().all(|&x| (1e-4..=1e-2).contains(&x)));
        near(log.iter().filter(|&&x| x < 1e-3).count(), 0.5);
        let linear = trials(json!({"from": -1.0, "to": 3.0}));
        near(linear.iter().filter(|&&x| x < 0.0).count(), 0.25);
        let whole = trials(json!({"from": 2, "to": 5}));
        (2..=5).for_each(|k| near(whole.iter().filter(|&&x| x == f64::from(k)).count(), 0.25));
        // Log of whole numbers: 1 stands for ln 2 of ln 9.
        let whole = trials(json!({"from": 1, "to": 8, "log": true}));
        near(whole.iter().filter(|&&x| x == 1.0).count(), 2f64.ln() / 9f64.ln());
        assert!(whole.iter().all(|x| x.fract() == 0.0 && (1.0..=8.0).contains(x)));
    }

    #[test]
    fn repeats_are_left_out_and_numbers_are_short() {
        let got = read(json!({"random": {"trials": 100, "over": {"a": [1, 2, 3]}}})).unwrap();
        assert_eq!(got.len(), 3);
        assert_eq!(rounded(0.001_234_567), 0.001_235);
        assert_eq!(rounded(12_345.6), 12_350.0);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let e = error(json!({"zip": {"a": [1, 2], "b": [1]}}));
        assert!(e.contains("`a` has 2, `b` has 1") && e.contains("sweep.zip"), "{e}");
        assert!(error(json!({"zip": {"a": []}})).contains("expected a list"));
        assert!(error(json!({"zip": 3})).contains("expected a section"));
        let e = error(json!({"zip": {"a": [1]}, "grid": {"a": [1]}}));
        assert!(e.contains("`a` varies in another part"), "{e}");
        let random = |over: Value| error(json!({"random": {"trials": 2, "over": over}}));
        assert!(random(json!({"a": {"from": 2, "to": 1}})).contains("below `to`"));
        assert!(random(json!({"a": {"from": 0, "to": 1, "log": true}})).contains("above 0"));
        assert!(random(json!({"a": {"from": 0, "to": 1, "step": 1}})).contains("log = true"));
        assert!(random(json!({"a": []})).contains("expected a list"));
        assert!(random(json!({})).contains("[sweep.random.over]"));
        assert!(error(json!({"random": {"over": {"a": [1]}}})).contains("`trials`"));
        assert!(error(json!({"random": {"trial": 1}})).contains("did you mean `trials`"));
    }
}
