//! The frame of a page: style, sections, and the numbers behind it as JSON.

use super::svg::escape;
use serde::Serialize;
use sidereal_core::{Error, Result};

/// A page with everything inside; `data` stands in it as JSON, under the id `report`.
pub fn page(title: &str, body: &str, data: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(data).map_err(|e| Error::other("writing JSON", e))?;
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{}</title>\
         <style>\n{}</style></head><body><main>{body}</main>\
         <script type=\"application/json\" id=\"report\">{}</script></body></html>\n",
        escape(title),
        include_str!("style.css"),
        // `</script>` or `<!--` inside of a name would change how the element ends.
        json.replace('<', "\\u003c")
    ))
}

/// A heading with content; nothing without content.
pub fn section(title: &str, class: &str, content: &str) -> String {
    match content.is_empty() {
        true => String::new(),
        false => format!("<h2>{}</h2><div class=\"{class}\">{content}</div>", escape(title)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_no_element() {
        let html = page("a<b", "", &["</script><!--<script>"]).unwrap();
        assert!(html.contains("<title>a&lt;b</title>"));
        assert_eq!(html.matches("</script>").count(), 1);
        assert!(html.contains("\\u003c/script>\\u003c!--"));
        assert!(section("x", "card", "").is_empty());
    }
}
