//! The text of a filter: any text is read or refused; what was read is written and read again the
//! same, and its items are a set of the catalogue.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sidereal_core::ItemTable;
use sidereal_decoding::attributes::{Attributes, Filter};
use std::sync::OnceLock;

fn attributes() -> &'static Attributes {
    static MADE: OnceLock<Attributes> = OnceLock::new();
    MADE.get_or_init(|| {
        let column = |texts: [&str; 4]| texts.into_iter().collect();
        let items = ItemTable::new(column(["a", "b", "c", "d"]))
            .with_column("brand", column(["Ada", "Bo", "", "Ada"]))
            .and_then(|items| items.with_column("price", column(["1.5", "$20", "", "x"])))
            .and_then(|items| items.with_column("categories", column(["A > B | C", "A", "", "C"])))
            .expect("four values a column");
        Attributes::new(&items).expect("few values")
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(filter) = Filter::parse(text) else { return };
    let written = filter.to_string();
    // Escapes can make it longer than what is read.
    if written.len() <= 65_536 {
        let again = Filter::parse(&written);
        assert_eq!(again.as_ref().ok(), Some(&filter), "{written}");
    }
    if let Ok(items) = attributes().items(&filter) {
        assert!(items.len() <= 4);
    }
});
