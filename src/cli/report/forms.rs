//! Sheets as aligned text, Markdown, LaTeX and HTML.

use super::super::charts::svg::{clip, clip_middle, escape};
use super::super::tables::Table;
use super::sheet::{Arrow, Cell, Mark, Sheet};

/// Letters of a name, and of a column of words, in a terminal.
const NAME: usize = 48;
const WORDS: usize = 72;

/// Aligned text: `*` for bold. Long names and words are clipped.
pub fn text(sheet: &Sheet) -> String {
    let mut table = Table::default();
    table.row(sheet.head.iter().cloned());
    // Marks have a place of their own in every cell of a column, so that numbers line up.
    let marked = |c: usize| sheet.rows.iter().any(|r| !mark(&r[c]).is_empty());
    let marked: Vec<bool> = (0..sheet.head.len()).map(marked).collect();
    for row in &sheet.rows {
        let cell = |(c, cell): (usize, &Cell)| match marked[c] {
            true => format!("{} {:<2}", cell.text, mark(cell)),
            false if c == 0 => clip_middle(&cell.text, NAME),
            false if sheet.left(c) => clip(&cell.text, WORDS),
            false => cell.text.clone(),
        };
        table.row(row.iter().enumerate().map(cell));
    }
    format!("{}\n{}", sheet.title, table.aligned(|c| !sheet.left(c)))
}

fn mark(cell: &Cell) -> String {
    let star = if cell.mark == Mark::Winner { "*" } else { "" };
    format!("{star}{}", sign(cell.arrow))
}

fn sign(arrow: Arrow) -> &'static str {
    match arrow {
        Arrow::Up => "▲",
        Arrow::Down => "▼",
        Arrow::MaybeUp => "△",
        Arrow::MaybeDown => "▽",
        Arrow::None => "",
    }
}

/// A table of Markdown.
pub fn markdown(sheet: &Sheet) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut out = line(sheet.head.iter().map(|h| markdown_text(h)).collect());
    let rules = (0..sheet.head.len()).map(|c| if sheet.left(c) { "---" } else { "--:" });
    out.push_str(&format!("|{}|\n", rules.collect::<Vec<_>>().join("|")));
    for row in &sheet.rows {
        let cell = |cell: &Cell| {
            let text = markdown_text(&cell.text);
            let text = if cell.mark == Mark::Winner { format!("**{text}**") } else { text };
            format!("{text} {}", sign(cell.arrow)).trim_end().to_string()
        };
        out.push_str(&line(row.iter().map(cell).collect()));
    }
    out
}

/// Text that is no markup of Markdown or HTML.
pub fn markdown_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '~' | '#' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A table of LaTeX with the rules of booktabs.
pub fn latex(sheet: &Sheet) -> String {
    let column = |c: usize| match c {
        0 => "l",
        // Words break into lines.
        _ if sheet.left(c) => "p{0.4\\linewidth}",
        _ => "r",
    };
    let columns = (0..sheet.head.len()).map(column);
    let mut out = format!("\\begin{{tabular}}{{{}}}\n\\toprule\n", columns.collect::<String>());
    let line = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
    out.push_str(&line(sheet.head.iter().map(|h| latex_text(h)).collect()));
    out.push_str("\\midrule\n");
    for row in &sheet.rows {
        let cell = |(c, cell): (usize, &Cell)| {
            let text = latex_text(&cell.text);
            let text = if sheet.left(c) { text } else { latex_number(&text) };
            let text = match cell.mark {
                Mark::Winner => format!("\\textbf{{{text}}}"),
                Mark::Plain => text,
            };
            let arrow = match cell.arrow {
                Arrow::Up => "$^{\\uparrow}$",
                Arrow::Down => "$^{\\downarrow}$",
                Arrow::MaybeUp => "$^{(\\uparrow)}$",
                Arrow::MaybeDown => "$^{(\\downarrow)}$",
                Arrow::None => "",
            };
            format!("{text}{arrow}")
        };
        out.push_str(&line(row.iter().enumerate().map(cell).collect()));
    }
    out.push_str("\\bottomrule\n\\end{tabular}\n");
    out
}

/// Text that is no command of LaTeX.
pub fn latex_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("->", "→").chars() {
        match c {
            '→' => out.push_str("$\\to$"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            '"' => out.push_str("\\textquotedbl{}"),
            '±' => out.push_str("$\\pm$"),
            '▲' => out.push_str("$\\uparrow$"),
            '▼' => out.push_str("$\\downarrow$"),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Escaped numbers with signs as LaTeX sets them, and a dash for none.
fn latex_number(text: &str) -> String {
    match text {
        "-" => "--".into(),
        text => text.replace('-', "$-$"),
    }
}

/// A table of HTML.
pub fn html(sheet: &Sheet) -> String {
    let class = |c: usize| if sheet.left(c) { " class=\"word\"" } else { "" };
    let mut out = String::from("<div class=\"scroll\"><table><tr>");
    for (c, name) in sheet.head.iter().enumerate() {
        out.push_str(&format!("<th{}>{}</th>", class(c), escape(name)));
    }
    for row in &sheet.rows {
        out.push_str("</tr><tr>");
        for (c, cell) in row.iter().enumerate() {
            let class = match cell.mark {
                Mark::Winner => " class=\"best\"",
                Mark::Plain => class(c),
            };
            let arrow = match cell.arrow {
                Arrow::Up => "<span class=\"mark up\">▲</span>",
                Arrow::Down => "<span class=\"mark down\">▼</span>",
                Arrow::MaybeUp => "<span class=\"mark up\">△</span>",
                Arrow::MaybeDown => "<span class=\"mark down\">▽</span>",
                Arrow::None => "",
            };
            out.push_str(&format!("<td{class}>{}{arrow}</td>", escape(&cell.text)));
        }
    }
    out.push_str("</tr></table></div>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sheet(name: &str) -> Sheet {
        let cell = |text: &str, mark, arrow| Cell { text: text.into(), mark, arrow };
        Sheet {
            title: "T".into(),
            head: vec!["system".into(), "r@10".into()],
            rows: vec![
                vec![name.into(), cell("0.1 ± 0.01", Mark::Winner, Arrow::Up)],
                vec!["b-c".into(), cell("-0.05", Mark::Plain, Arrow::MaybeDown)],
            ],
            words: vec![],
        }
    }

    #[test]
    fn all_forms_of_one_sheet() {
        let s = sheet("a_b");
        assert_eq!(
            text(&s),
            "T\nsystem           r@10\na_b     0.1 ± 0.01 *▲\nb-c          -0.05 ▽\n"
        );
        let md = "| system | r@10 |\n|---|--:|\n| a\\_b | **0.1 ± 0.01** ▲ |\n| b-c | -0.05 ▽ |\n";
        assert_eq!(markdown(&s), md);
        let tex = latex(&s);
        assert!(tex.contains("a\\_b & \\textbf{0.1 $\\pm$ 0.01}$^{\\uparrow}$ \\\\\n"), "{tex}");
        assert_eq!(latex_text("a_b: 1 -> 2"), "a\\_b: 1 $\\to$ 2");
        assert!(tex.contains("b-c & $-$0.05$^{(\\downarrow)}$ \\\\\n"), "{tex}");
        assert!(
            tex.starts_with("\\begin{tabular}{lr}\n\\toprule\nsystem & r@10 \\\\\n\\midrule\n")
        );
        assert!(
            html(&s).contains("<td class=\"best\">0.1 ± 0.01<span class=\"mark up\">▲</span></td>")
        );
    }

    #[test]
    fn long_names_keep_their_ends_in_a_terminal() {
        let name = format!("{}-end", "x".repeat(80));
        let printed = text(&sheet(&name));
        assert!(printed.lines().all(|l| l.chars().count() < 70), "{printed}");
        assert!(printed.contains("…") && printed.contains("-end"));
        assert!(markdown(&sheet(&name)).contains(&name));
    }

    /// LaTeX without the commands that escaping makes.
    fn without_commands(text: &str) -> String {
        let mut out = text.to_string();
        for name in ["backslash", "asciitilde", "asciicircum", "less", "greater", "bar", "quotedbl"]
        {
            out = out.replace(&format!("\\text{name}{{}}"), "");
        }
        for c in "&%$#_{}".chars() {
            out = out.replace(&format!("\\{c}"), "");
        }
        out.replace("$\\pm$", "")
            .replace("$\\to$", "")
            .replace("$\\uparrow$", "")
            .replace("$\\downarrow$", "")
    }

    proptest! {
        #[test]
        fn nothing_of_a_name_is_markup(name in "[ -~±é\n]{0,30}") {
            let tex = without_commands(&latex_text(&name));
            prop_assert!(!tex.contains(['\\', '&', '%', '$', '#', '_', '{', '}', '~', '^', '\n']), "{}", tex);
            let page = html(&sheet(&name));
            let cell = page.split("<td class=\"word\">").nth(1).unwrap().split("</td>").next().unwrap();
            prop_assert!(!cell.contains(['<', '>', '"']));
            let back = cell.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            prop_assert_eq!(back.replace("&amp;", "&"), name.clone());
            let lines = markdown(&sheet(&name)).lines().count();
            prop_assert_eq!(lines, 4);
            let bars = markdown(&sheet(&name)).lines().nth(2).unwrap().replace("\\\\", "").replace("\\|", "");
            prop_assert_eq!(bars.matches('|').count(), 3);
        }
    }
}
