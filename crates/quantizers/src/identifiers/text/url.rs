//! A readable text from an address: the title-or-URL rule of DDRO (arXiv 2504.05181).
//!
//! Lower case, without `http://` or `https://`, hyphens as spaces, cut at slashes. If more than half
//! of the path's segments speak (no number, longer than two characters, none of `index`, `page`,
//! `item`, `view`, `default`, `home`), the text is the segments from the last to the first and the
//! domain; otherwise title and domain.

const SILENT: [&str; 6] = ["index", "page", "item", "view", "default", "home"];

/// The text of an address and a title; either may be empty.
pub fn text(url: &str, title: &str) -> String {
    let url = url.trim().to_lowercase();
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://")).unwrap_or(&url);
    let rest = rest.replace('-', " ");
    let mut segments = rest.split('/').map(str::trim).filter(|s| !s.is_empty());
    let domain = segments.next().unwrap_or("");
    let path: Vec<&str> = segments.collect();
    let speaks = |s: &&&str| {
        !s.chars().all(|c| c.is_numeric()) && s.chars().count() > 2 && !SILENT.contains(*s)
    };
    if path.iter().filter(speaks).count() * 2 > path.len() {
        let reversed: Vec<&str> = path.iter().rev().copied().chain([domain]).collect();
        return reversed.join(" ");
    }
    format!("{title} {domain}").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_speak_and_paths_that_do_not() {
        let url = "https://www.Shop.com/bath-care/Soap-Bars/12";
        assert_eq!(text(url, "Soap"), "12 soap bars bath care www.shop.com");
        // Half of the segments is not more than half.
        assert_eq!(text("http://shop.com/soap/12", "Red Soap"), "Red Soap shop.com");
        assert_eq!(text("shop.com/index/ab", "Red Soap"), "Red Soap shop.com");
        assert_eq!(text("shop.com", "Red Soap"), "Red Soap shop.com");
        assert_eq!(text("", "Red Soap"), "Red Soap");
        assert_eq!(text("", ""), "");
    }
}
