//! Short names that still tell things apart.

/// The shortest ends of paths that tell them apart, without what all of them end in.
pub fn shortest_ends(paths: &[&str]) -> Vec<String> {
    let parts: Vec<Vec<&str>> =
        paths.iter().map(|p| p.split(['/', '\\']).filter(|s| !s.is_empty()).collect()).collect();
    let end = |p: &[&str], n: usize| p[p.len().saturating_sub(n)..].join("/");
    let longest = parts.iter().map(Vec::len).max().unwrap_or(1);
    let names = |n: usize| -> Vec<String> { parts.iter().map(|p| end(p, n)).collect() };
    let differ = |n: &usize| {
        let mut names = names(*n);
        names.sort();
        names.windows(2).all(|w| w[0] != w[1])
    };
    let n = (1..=longest).find(differ).unwrap_or(longest);
    names(n)
}

/// What all names begin with, without separators and the word `seed` at its end; the first name
/// where nothing is left.
pub fn common_beginning(names: &[&str]) -> String {
    let Some((first, rest)) = names.split_first() else { return String::new() };
    if rest.iter().all(|n| n == first) {
        return (*first).to_string();
    }
    let shared = |n: &&str| first.chars().zip(n.chars()).take_while(|(a, b)| a == b).count();
    let length = rest.iter().map(shared).min().unwrap_or(0);
    let text: String = first.chars().take(length).collect();
    let bare = |t: &str| t.trim_end_matches(['-', '_', '.', '=', '/', ' ']).to_string();
    // Of `rq-10` and `rq-11` the number is no part of the name.
    let cut_number =
        names.iter().any(|n| n.chars().nth(length).is_some_and(|c| c.is_ascii_digit()));
    let text = match cut_number {
        true => bare(text.trim_end_matches(|c: char| c.is_ascii_digit())),
        false => bare(&text),
    };
    let text = bare(text.strip_suffix("seed").unwrap_or(&text));
    if text.is_empty() { (*first).to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_paths_apart() {
        let short = shortest_ends;
        assert_eq!(short(&["runs/a", "b.tsv"]), ["a", "b.tsv"]);
        assert_eq!(short(&["runs/a/seed-0", "runs/b/seed-0/"]), ["a/seed-0", "b/seed-0"]);
        assert_eq!(short(&["x"]), ["x"]);
        assert_eq!(short(&["x", "x"]), ["x", "x"]);
    }

    #[test]
    fn seeds_of_a_system_share_a_beginning() {
        assert_eq!(common_beginning(&["rq-0", "rq-1", "rq-2"]), "rq");
        assert_eq!(common_beginning(&["rq-10", "rq-11"]), "rq");
        assert_eq!(common_beginning(&["a_seed=1", "a_seed=2"]), "a");
        assert_eq!(common_beginning(&["x", "y"]), "x");
        assert_eq!(common_beginning(&["same", "same"]), "same");
        assert_eq!(common_beginning(&[]), "");
        assert_eq!(common_beginning(&["größe-0", "größe-1"]), "größe");
    }
}
