//! Identifiers by name, down to the table.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use sidereal_core::{
    Catalog, Codes, EncoderInput, Identifier, IdentifierInput, ItemId, ItemTable, Matrix,
    Quantized, Quantizer, QuantizerInput, Run, Sequences, SidTable, Spec,
};
use sidereal_quantizers::{SidReport, register, register_identifiers};

fn identify(spec: Spec, codes: &Codes) -> SidTable {
    let mut identifiers: Catalog<dyn Identifier> = Catalog::new("identifier");
    register_identifiers(&mut identifiers).unwrap();
    let mut quantizers: Catalog<dyn Quantizer> = Catalog::new("quantizer");
    register(&mut quantizers).unwrap();
    let vectors = Matrix::zeros(codes.rows(), 1);
    let input = QuantizerInput::vectors(vectors.view());
    let random = quantizers.build(&Spec::new("quantizer", "random"), &()).unwrap();
    let codebook = random.fit(&input, &Run::quiet(1)).unwrap();
    let popularity = vec![0; codes.rows()];
    let (items, train) = (ItemTable::default(), Sequences::default());
    let quantized = Quantized { codes, codebook: codebook.as_ref(), vectors: vectors.view() };
    let input = IdentifierInput {
        catalogue: EncoderInput { items: &items, train: &train },
        popularity: &popularity,
        quantized: Some(quantized),
    };
    identifiers.build(&spec, &()).unwrap().identify(&input, &Run::quiet(1)).unwrap()
}

#[test]
fn tables_of_both_policies() {
    let codes = Codes::new(4, 2, vec![7, 1, 3, 3, 7, 1, 7, 1]).unwrap();
    let grid = identify(Spec::new("identifier", "ordinal"), &codes);
    assert_eq!(grid.items_of(&[7, 1, 2]).collect::<Vec<_>>(), [ItemId(2)]);
    assert_eq!((grid.widths(), grid.fixed_len()), (&[8, 4, 4][..], Some(3)));
    assert_eq!(SidReport::of_table(&grid).unwrap().collision_rate, 0.0);

    let tiger = identify(Spec::new("identifier", "ordinal").with("start", "tiger"), &codes);
    assert_eq!(tiger.widths(), [8, 4, 3]);
    assert_eq!(tiger.items_of(&[7, 1, 0]).collect::<Vec<_>>(), [ItemId(0)]);

    let shared = identify(Spec::new("identifier", "tolerate"), &codes);
    assert_eq!(shared.items_of(&[7, 1]).count(), 3);
    let report = SidReport::of_table(&shared).unwrap();
    assert_eq!((report.collision_rate, report.largest_bucket), (0.75, 3));
}

#[test]
fn wrong_starts_are_named() {
    let mut identifiers: Catalog<dyn Identifier> = Catalog::new("identifier");
    register_identifiers(&mut identifiers).unwrap();
    let spec = Spec::new("identifier", "ordinal").with("start", "one");
    let message = identifiers.build(&spec, &()).err().unwrap().to_string();
    assert!(
        message.contains("identifier.start") && message.contains("expected one of `grid`, `tiger`"),
        "{message}"
    );
}
