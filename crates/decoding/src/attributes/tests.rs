use super::*;
use proptest::prelude::*;
use sidereal_core::{ItemId, StringColumn};

const BRANDS: [&str; 4] = ["", "Ada", "Bo", "x and \"y\" \\"];
const PRICES: [&str; 8] = ["", "1", "$2.50", "2.5", "-3", "nan", "1e3", "free"];
const PATHS: [&str; 4] = ["", "Beauty > Hair > Oil | Gifts", "Beauty", "Hair > Beauty"];

fn table(rows: &[(usize, usize, usize)]) -> ItemTable {
    let column = |f: &dyn Fn(&(usize, usize, usize)) -> &'static str| -> StringColumn {
        rows.iter().map(f).collect()
    };
    ItemTable::new((0..rows.len()).map(|i| i.to_string()).collect())
        .with_column("brand", column(&|r| BRANDS[r.0]))
        .and_then(|t| t.with_column("list price", column(&|r| PRICES[r.1])))
        .and_then(|t| t.with_column("categories", column(&|r| PATHS[r.2])))
        .unwrap()
}

fn all_rows() -> Vec<(usize, usize, usize)> {
    (0..128).map(|i| (i % 4, i / 4 % 8, i / 32)).collect()
}

fn found(text: &str) -> Vec<(usize, usize, usize)> {
    let rows = all_rows();
    let set = Attributes::new(&table(&rows)).unwrap().items(&Filter::parse(text).unwrap()).unwrap();
    set.iter().map(|i| rows[i.index()]).collect()
}

fn brands(text: &str) -> Vec<usize> {
    let mut brands: Vec<usize> = found(text).iter().map(|r| r.0).collect();
    brands.sort_unstable();
    brands.dedup();
    brands
}

fn prices(text: &str) -> Vec<usize> {
    let mut prices: Vec<usize> = found(text).iter().map(|r| r.1).collect();
    prices.sort_unstable();
    prices.dedup();
    prices
}

fn paths(text: &str) -> Vec<usize> {
    let mut paths: Vec<usize> = found(text).iter().map(|r| r.2).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

#[test]
fn each_operator_by_hand() {
    assert_eq!(brands("brand = 'Ada'"), [1]);
    assert_eq!(brands("brand = ''"), [0]);
    assert_eq!(brands("brand != \"Ada\""), [2, 3]);
    assert_eq!(brands("NOT brand = 'Ada'"), [0, 2, 3]);
    assert_eq!(brands("brand in ('Ada', 'Bo', 'nobody')"), [1, 2]);
    assert_eq!(brands("brand not in ('Ada', 'Bo')"), [3]);
    assert_eq!(brands(r#"brand = "x and \"y\" \\""#), [3]);
    assert_eq!(prices("`list price` < 2.5"), [1, 4]);
    assert_eq!(prices("`list price` <= 2.5"), [1, 2, 3, 4]);
    assert_eq!(prices("`list price` > 1 and `list price` <= 1000"), [2, 3, 6]);
    assert_eq!(prices("`list price` = 2.5"), [2, 3]);
    assert_eq!(prices("`list price` = '2.5'"), [3]);
    assert_eq!(prices("`list price` >= -3.0"), [1, 2, 3, 4, 6]);
    assert_eq!(paths("categories = 'Hair'"), [1, 3]);
    assert_eq!(paths("categories = 'Beauty > Hair'"), [1]);
    assert_eq!(paths("categories = 'Beauty > Hair > Oil'"), [1]);
    assert_eq!(paths("categories = 'Gifts'"), [1]);
    assert_eq!(paths("categories != 'Gifts'"), [2, 3]);
}

#[test]
fn and_binds_more_than_or() {
    let text = "brand = 'Ada' or brand = 'Bo' and not categories = 'Gifts'";
    assert_eq!(paths(&format!("brand = 'Ada' and ({text})")), [0, 1, 2, 3]);
    assert_eq!(paths(&format!("brand = 'Bo' and ({text})")), [0, 2, 3]);
    let same = "brand = 'Ada' or (brand = 'Bo' and not (categories = 'Gifts'))";
    assert_eq!(Filter::parse(text).unwrap(), Filter::parse(same).unwrap());
}

#[test]
fn errors_say_where_and_what() {
    let fails = |text: &str, words: &[&str]| {
        let e = Filter::parse(text).unwrap_err().to_string();
        assert!(words.iter().all(|w| e.contains(w)), "{text}: {e}");
    };
    fails("", &["character 1", "an attribute", "the end"]);
    fails("brand", &["character 6", "`=`", "the end"]);
    fails("brand = Ada", &["character 9", "text in quotes", "`Ada`"]);
    fails("brand = 'Ada", &["character 9", "not closed"]);
    fails("preis < 'x'", &["character 9", "a number after `<`", "\"x\""]);
    fails("é = 'é' but", &["character 9", "`and`, `or` or the end", "`but`"]);
    fails("a = 1)", &["character 6", "`)`"]);
    fails("(a = 1", &["character 7", "`)`", "the end"]);
    fails("a in 1", &["character 6", "`(` after `in`"]);
    fails("a in ()", &["character 7", "a number or a text"]);
    fails("a not 1", &["character 7", "`in` after `not`"]);
    fails("and = 1", &["character 1", "an attribute"]);
    fails("a = 1x", &["character 5", "`1x` is no number"]);
    fails("a = 1e999", &["is no number"]);
    fails("a ; b", &["character 3", "`;`"]);
    fails(&format!("{}a = 1", "(".repeat(65)), &["at most 64"]);
    fails(&format!("{} a = 1", "not ".repeat(30_000)), &["at most 65536"]);
    fails(&format!("{} a = 1", "not ".repeat(10_000)), &["at most 64"]);
    assert!(Filter::parse(&format!("{}a = 1{}", "(".repeat(63), ")".repeat(63))).is_ok());

    let attributes = Attributes::new(&table(&all_rows())).unwrap();
    let e = attributes.items(&Filter::parse("brant = 1").unwrap()).unwrap_err().to_string();
    assert!(e.contains("attribute `brant`") && e.contains("did you mean `brand`"), "{e}");
    let e = attributes.items(&Filter::parse("brand < 1").unwrap()).unwrap_err().to_string();
    assert!(e.contains("`brand` has no numbers") && e.contains("Ada"), "{e}");
    let e = Attributes::of(&table(&[]), ["x"]).unwrap_err().to_string();
    assert!(e.contains("`x`") && e.contains("list price"), "{e}");
}

#[test]
fn empty_catalogues_and_empty_lists() {
    let attributes = Attributes::new(&table(&[])).unwrap();
    assert!(attributes.items(&Filter::parse("brand < 1").unwrap()).unwrap().is_empty());
    let attributes = Attributes::new(&table(&all_rows())).unwrap();
    assert_eq!(attributes.items(&Filter::And(vec![])).unwrap().len(), 128);
    assert_eq!(attributes.items(&Filter::Or(vec![])).unwrap().len(), 0);
}

fn filters() -> impl Strategy<Value = Filter> {
    let value = prop_oneof![
        (0usize..4).prop_map(|i| Value::Text(BRANDS[i].into())),
        (0usize..8).prop_map(|i| Value::Text(PRICES[i].into())),
        (0usize..4).prop_map(|i| Value::Text(PATHS[i].into())),
        prop_oneof![Just(1.0), Just(2.5), Just(-3.0), Just(1e-7)].prop_map(Value::Number),
    ];
    let column = prop_oneof![Just("brand"), Just("list price"), Just("categories")];
    let column = column.prop_map(str::to_string);
    let values = proptest::collection::vec(value, 1..4);
    let bound = |x: f64| prop_oneof![Just(Bound::With(x)), Just(Bound::Without(x))];
    let from = prop_oneof![bound(1.0), bound(-3.0), bound(2.5)];
    let leaf = prop_oneof![
        (column.clone(), values.clone())
            .prop_map(|(column, values)| Filter::AnyOf { column, values }),
        (column, values).prop_map(|(column, values)| Filter::NoneOf { column, values }),
        (from, proptest::bool::ANY).prop_map(|(x, is_from)| {
            let (from, to) = if is_from { (x, Bound::None) } else { (Bound::None, x) };
            Filter::Within { column: "list price".into(), range: Range { from, to } }
        }),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|f| Filter::Not(Box::new(f))),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            proptest::collection::vec(inner, 2..4).prop_map(Filter::Or),
        ]
    })
}

/// The rules at the head of the module, item by item.
fn holds(filter: &Filter, row: &(usize, usize, usize)) -> bool {
    let values = |column: &str| -> Vec<String> {
        match column {
            "brand" => vec![BRANDS[row.0].into()],
            "list price" => vec![PRICES[row.1].into()],
            _ => {
                let mut all = Vec::new();
                for path in PATHS[row.2].split(" | ") {
                    let parts: Vec<&str> = path.split(" > ").collect();
                    for i in 0..parts.len() {
                        all.push(parts[i].to_string());
                        all.push(parts[..=i].join(" > "));
                    }
                }
                all
            }
        }
    };
    let as_number = |text: &str| text.trim_start_matches('$').parse::<f64>().ok();
    let equal = |text: &String, value: &Value| match value {
        Value::Text(other) => text == other,
        Value::Number(x) => as_number(text) == Some(*x),
    };
    match filter {
        Filter::AnyOf { column, values: wanted } => {
            values(column).iter().any(|v| wanted.iter().any(|w| equal(v, w)))
        }
        Filter::NoneOf { column, values: wanted } => {
            let mine = values(column);
            !mine.contains(&String::new())
                && !mine.iter().any(|v| wanted.iter().any(|w| equal(v, w)))
        }
        Filter::Within { column, range } => {
            values(column).iter().filter_map(|v| as_number(v)).any(|x| {
                let above = match range.from {
                    Bound::None => true,
                    Bound::With(from) => x >= from,
                    Bound::Without(from) => x > from,
                };
                above
                    && match range.to {
                        Bound::None => true,
                        Bound::With(to) => x <= to,
                        Bound::Without(to) => x < to,
                    }
            })
        }
        Filter::Not(inner) => !holds(inner, row),
        Filter::And(parts) => parts.iter().all(|p| holds(p, row)),
        Filter::Or(parts) => parts.iter().any(|p| holds(p, row)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn filters_equal_their_definition_and_their_text(
        filter in filters(),
        rows in proptest::collection::vec((0usize..4, 0usize..8, 0usize..4), 0..40),
    ) {
        let text = filter.to_string();
        prop_assert_eq!(&Filter::parse(&text).unwrap(), &filter, "{}", text);
        // One price that is a number, so that no column lacks them.
        let rows = [&rows[..], &[(0, 1, 0)]].concat();
        let set = Attributes::new(&table(&rows)).unwrap().items(&filter).unwrap();
        for (i, row) in rows.iter().enumerate() {
            prop_assert_eq!(set.contains(ItemId(i as u32)), holds(&filter, row), "{} {:?}", text, row);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-c'\"`()<>=!, \\\\0-9.andortiné-]{0,40}") {
        if let Ok(filter) = Filter::parse(&text) {
            prop_assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter);
        }
    }
}
