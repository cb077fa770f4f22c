//! The options that all readers of files share, written once.

/// Declares a source's options: its own fields and the common filters.
macro_rules! source_options {
    ($(#[doc = $sdoc:literal])* pub struct $name:ident { $($own:tt)* }) => {
        sidereal_core::options! {
            $(#[doc = $sdoc])*
            pub struct $name {
                $($own)*
                /// Fewest interactions of a user (k-core with min_item); 0 and 1 keep all.
                pub min_user: u32 = 0,
                /// Fewest interactions of an item (k-core with min_user); 0 and 1 keep all.
                pub min_item: u32 = 0,
                /// Rows with a lower rating are dropped; unset keeps all.
                pub min_rating: Option<f64> = None,
                /// Rows that repeat a user and item: keep, first or last.
                pub duplicates: $crate::Duplicates = $crate::Duplicates::Keep,
                /// Rows that cannot be understood: skip or fail.
                pub bad_lines: $crate::BadLines = $crate::BadLines::Fail,
                /// With skip: more bad rows than this are an error.
                pub max_bad_lines: u64 = 100,
            }
        }
    };
}
pub(crate) use source_options;
