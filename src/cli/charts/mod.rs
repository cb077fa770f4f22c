//! Charts and pages that need nothing but themselves: SVG inside of HTML, the data beside it, light
//! and dark by the reader's setting.
//!
//! | file | holds |
//! |---|---|
//! | `svg.rs` | numbers, names, axes, boxes |
//! | `lines.rs`, `bars.rs` | lines over an axis; bars in groups |
//! | `forest.rs`, `scatter.rs` | values with intervals; named points |
//! | `page.rs` | the frame of a page, its style and the JSON inside |

pub mod bars;
pub mod forest;
pub mod lines;
pub mod page;
pub mod scatter;
pub mod svg;
