//! Columns of `per_user.csv`: what each test case's user, history and target were, and how well the
//! target was found.

use crate::stages::evaluation::PER_USER_COLUMNS;
use sidereal_core::{Error, Result, Run};
use sidereal_data::csv_rows;
use std::path::Path;

/// Ranks are places in a list; no list is longer.
const LONGEST_LIST: usize = 1 << 24;

/// Values of each of U test cases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PerUser {
    /// Source ids of the users, in the order of the file.
    pub users: Vec<String>,
    /// Rank of the target from 1; 0 where the list misses it.
    pub ranks: Vec<u32>,
    /// Items of the history; empty where the run is too old to have them.
    pub history: Vec<u32>,
    /// Training interactions of the rarest target; empty where the run is too old to have them.
    pub popularity: Vec<u32>,
    /// Test cases by the rank of the target, from 1 on; over all seeds once systems are made.
    pub found: Vec<u64>,
    /// Metrics with a value a user.
    pub columns: Vec<MetricColumn>,
}

/// A metric with a value a user.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricColumn {
    /// Name with cut-off, as in `recall@10`.
    pub name: String,
    /// One value a test case; NaN where the metric has none.
    pub values: Vec<f64>,
}

impl PerUser {
    /// Reads the file of a run. Memory: 8 bytes a metric and user beside the ids.
    ///
    /// Errors: no column `user`, rows of another length than the header; with file and line.
    pub fn read(path: &Path, run: &Run<'_>) -> Result<Self> {
        let mut header: Vec<String> = Vec::new();
        let mut places: [Option<usize>; PER_USER_COLUMNS.len()] = Default::default();
        let mut metrics: Vec<usize> = Vec::new();
        let mut out = PerUser::default();
        csv_rows(path, run, |row| {
            if header.is_empty() {
                header = (0..row.fields()).map(|i| row.text(i)).collect();
                places = PER_USER_COLUMNS.map(|name| header.iter().position(|h| h == name));
                if places[0].is_none() {
                    return Err(Error::data_line(path, row.line(), "no column `user`"));
                }
                metrics = (0..header.len()).filter(|i| !places.contains(&Some(*i))).collect();
                let column = |&i: &usize| MetricColumn { name: header[i].clone(), values: vec![] };
                out.columns = metrics.iter().map(column).collect();
                return Ok(());
            }
            if row.fields() != header.len() {
                let message = format!("{} fields, the header has {}", row.fields(), header.len());
                return Err(Error::data_line(path, row.line(), message));
            }
            let whole = |at: Option<usize>| at.map(|i| row.number(i).unwrap_or(0.0) as u32);
            out.users.push(row.text(places[0].unwrap_or(0)));
            out.ranks.push(whole(places[1]).unwrap_or(0));
            out.history.extend(whole(places[2]));
            out.popularity.extend(whole(places[3]));
            for (column, &i) in out.columns.iter_mut().zip(&metrics) {
                column.values.push(row.number(i).unwrap_or(f64::NAN));
            }
            Ok(())
        })?;
        let last = out.ranks.iter().copied().max().unwrap_or(0);
        if last as usize > LONGEST_LIST {
            let message = format!("rank {last}; expected at most {LONGEST_LIST}");
            return Err(Error::data(path, message));
        }
        out.found = vec![0; last as usize];
        out.ranks.iter().filter(|r| **r > 0).for_each(|r| out.found[*r as usize - 1] += 1);
        Ok(out)
    }

    /// The values of a metric.
    pub fn values(&self, metric: &str) -> Option<&[f64]> {
        self.columns.iter().find(|c| c.name == metric).map(|c| &c.values[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PerUser> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("per_user.csv");
        std::fs::write(&path, text).unwrap();
        PerUser::read(&path, &Run::quiet(0))
    }

    #[test]
    fn columns_of_new_and_old_files() {
        let new =
            read("user,rank,history,popularity,recall@1,x\n\"a,b\",2,7,0,0.5,\nc,,1,30,0,1\n");
        let new = new.unwrap();
        assert_eq!(new.users, ["a,b", "c"]);
        assert_eq!(
            (&new.ranks[..], &new.history[..], &new.popularity[..]),
            (&[2, 0][..], &[7, 1][..], &[0, 30][..])
        );
        assert_eq!(new.found, [0, 1]);
        assert_eq!(new.values("recall@1"), Some(&[0.5, 0.0][..]));
        assert!(new.values("x").is_some_and(|x| x[0].is_nan() && x[1] == 1.0));
        let old = read("user,rank,recall@1\na,1,1\n").unwrap();
        assert!(old.history.is_empty() && old.values("recall@1") == Some(&[1.0]));
        assert_eq!(old.values("rank"), None);
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert!(error("user,rank,m\na,1,1\nb,1\n").contains("per_user.csv:3: 2 fields"));
        assert!(error("a,b\n").contains("per_user.csv:1: no column `user`"));
        assert!(error("").contains("empty"));
        assert!(error("user,rank\na,4e9\n").contains("rank 4000000000"));
    }
}
