//! The text of a filter.
//!
//! ```text
//! filter  = and ("or" and)*
//! and     = not ("and" not)*
//! not     = "not" not | "(" filter ")" | test
//! test    = column ("=" | "!=") value
//!         | column ("<" | "<=" | ">" | ">=") number
//!         | column ["not"] "in" "(" value ("," value)* ")"
//! column  = word of letters, digits, `_`, `-`, `.` | `text between backticks`
//! value   = number | "text" | 'text'
//! ```
//!
//! Words of the language are read in any case. Inside quotes a backslash takes the next character
//! as it stands. At most 65,536 bytes and 64 brackets deep.

use super::filter::{Bound, Filter, Range, Value};
use sidereal_core::{Error, Result};

const MAX_BYTES: usize = 65_536;
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A column, or a word of the language.
    Word(String),
    /// A column between backticks.
    Column(String),
    Text(String),
    Number(f64),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Whether a column may stand without backticks.
pub(super) fn is_plain(name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(word)
        && !["and", "or", "not", "in"].iter().any(|w| name.eq_ignore_ascii_case(w))
}

impl Filter {
    /// Reads a filter, as in `brand = "Ada" and not (price < 20 or colour in ("red", "blue"))`.
    ///
    /// Errors name the character and what was expected there.
    pub fn parse(text: &str) -> Result<Filter> {
        if text.len() > MAX_BYTES {
            return Err(Error::input(format!(
                "a filter of {} bytes; at most {MAX_BYTES} are read",
                text.len()
            )));
        }
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let filter = parser.filter()?;
        parser.expect(|t| *t == Token::End, "`and`, `or` or the end")?;
        Ok(filter)
    }
}

struct Parser {
    /// Each with the number of its first character, from 1.
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn filter(&mut self) -> Result<Filter> {
        self.joined("or", Parser::and, Filter::Or)
    }

    fn and(&mut self) -> Result<Filter> {
        self.joined("and", Parser::not, Filter::And)
    }

    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Parser) -> Result<Filter>,
        join: fn(Vec<Filter>) -> Filter,
    ) -> Result<Filter> {
        let first = part(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_word(word) {
            parts.push(part(self)?);
        }
        Ok(join(parts))
    }

    fn not(&mut self) -> Result<Filter> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(
                self.error(&format!("at most {MAX_DEPTH} brackets and `not` inside others"))
            );
        }
        let filter = if self.take_word("not") {
            Filter::Not(Box::new(self.not()?))
        } else if self.take("(") {
            let inner = self.filter()?;
            self.close()?;
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn test(&mut self) -> Result<Filter> {
        let column = match self.peek() {
            Token::Column(name) => name.clone(),
            Token::Word(name) if is_plain(name) => name.clone(),
            _ => return Err(self.error("an attribute, `not` or `(`")),
        };
        self.at += 1;
        if self.take_word("in") {
            return Ok(Filter::AnyOf { column, values: self.list()? });
        }
        if self.take_word("not") {
            self.expect(|t| is(t, "in"), "`in` after `not`")?;
            return Ok(Filter::NoneOf { column, values: self.list()? });
        }
        let Token::Sign(op @ ("=" | "!=" | "<" | "<=" | ">" | ">=")) = *self.peek() else {
            return Err(self.error("`=`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `not in`"));
        };
        self.at += 1;
        if let "=" | "!=" = op {
            let values = vec![self.value()?];
            return Ok(match op {
                "=" => Filter::AnyOf { column, values },
                _ => Filter::NoneOf { column, values },
            });
        }
        let Token::Number(x) = *self.peek() else {
            return Err(self.error(&format!("a number after `{op}`")));
        };
        self.at += 1;
        let (from, to) = match op {
            "<" => (Bound::None, Bound::Without(x)),
            "<=" => (Bound::None, Bound::With(x)),
            ">" => (Bound::Without(x), Bound::None),
            _ => (Bound::With(x), Bound::None),
        };
        Ok(Filter::Within { column, range: Range { from, to } })
    }

    fn list(&mut self) -> Result<Vec<Value>> {
        if !self.take("(") {
            return Err(self.error("`(` after `in`"));
        }
        let mut values = vec![self.value()?];
        while self.take(",") {
            values.push(self.value()?);
        }
        self.close()?;
        Ok(values)
    }

    fn value(&mut self) -> Result<Value> {
        let value = match self.peek() {
            Token::Text(text) => Value::Text(text.clone()),
            Token::Number(x) => Value::Number(*x),
            _ => return Err(self.error("a number or a text in quotes")),
        };
        self.at += 1;
        Ok(value)
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)].0
    }

    fn is_word(&self, word: &str) -> bool {
        is(self.peek(), word)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(s) if *s == sign);
        self.at += usize::from(found);
        found
    }

    fn close(&mut self) -> Result<()> {
        self.expect(|t| *t == Token::Sign(")"), "`)`")
    }

    fn expect(&mut self, holds: impl Fn(&Token) -> bool, what: &str) -> Result<()> {
        if !holds(self.peek()) {
            return Err(self.error(what));
        }
        self.at += 1;
        Ok(())
    }

    fn error(&self, expected: &str) -> Error {
        let got = match self.peek() {
            Token::Word(w) | Token::Column(w) => format!("`{w}`"),
            Token::Text(text) => format!("the text \"{text}\""),
            Token::Number(x) => format!("{x:?}"),
            Token::Sign(s) => format!("`{s}`"),
            Token::End => "the end".into(),
        };
        fault(
            self.tokens[self.at.min(self.tokens.len() - 1)].1,
            &format!("expected {expected}, got {got}"),
        )
    }
}

fn is(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.eq_ignore_ascii_case(word))
}

fn fault(place: usize, message: &str) -> Error {
    Error::input(format!("filter, character {place}: {message}"))
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>> {
    const SIGNS: [&str; 9] = ["!=", "<=", ">=", "=", "<", ">", "(", ")", ","];
    let mut tokens = Vec::new();
    let (mut rest, mut place) = (text, 1);
    // Cuts `n` bytes off.
    let cut = |rest: &mut &str, place: &mut usize, n: usize| {
        *place += rest[..n].chars().count();
        *rest = &rest[n..];
    };
    while let Some(c) = rest.chars().next() {
        let start = place;
        if c.is_whitespace() {
            cut(&mut rest, &mut place, c.len_utf8());
        } else if let Some(&sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            tokens.push((Token::Sign(sign), start));
            cut(&mut rest, &mut place, sign.len());
        } else if let '"' | '\'' | '`' = c {
            let (value, n) = between_quotes(rest, c)
                .ok_or_else(|| fault(start, &format!("{c} is not closed")))?;
            tokens.push((if c == '`' { Token::Column(value) } else { Token::Text(value) }, start));
            cut(&mut rest, &mut place, n);
        } else {
            let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
            let n = rest.find(|c: char| !word(c)).unwrap_or(rest.len());
            if n == 0 {
                return Err(fault(
                    start,
                    &format!("`{c}` does not belong here; texts stand in quotes"),
                ));
            }
            let part = &rest[..n];
            let token = if part.starts_with(|c: char| c.is_alphabetic() || c == '_') {
                Token::Word(part.into())
            } else {
                let number = part.parse().ok().filter(|x: &f64| x.is_finite());
                let number = number.ok_or_else(|| {
                    fault(start, &format!("`{part}` is no number; texts stand in quotes"))
                })?;
                // As in the columns, -0 is 0.
                Token::Number(number + 0.0)
            };
            tokens.push((token, start));
            cut(&mut rest, &mut place, n);
        }
    }
    tokens.push((Token::End, place));
    Ok(tokens)
}

/// The text from a quote to the next one, and the bytes that it takes with both.
fn between_quotes(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next()?.1),
            c if c == quote => return Some((value, i + c.len_utf8())),
            c => value.push(c),
        }
    }
    None
}
