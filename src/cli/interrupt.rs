//! Ctrl-C: the first press asks to stop at the next safe point, the second exits at once.

use sidereal_core::Cancel;
use std::io::Write;

/// A flag that Ctrl-C (or a request to terminate) raises.
pub fn cancel_on_interrupt() -> Cancel {
    let cancel = Cancel::default();
    let flag = cancel.clone();
    let handler = move || {
        if flag.is_cancelled() {
            // The code of a program that an interrupt ended.
            std::process::exit(130);
        }
        flag.cancel();
        let text = "\nstopping at the next safe point; press Ctrl-C again to exit at once\n";
        let _ = std::io::stderr().write_all(text.as_bytes());
    };
    // Without a handler the program still works; an interrupt then ends it at once.
    let _ = ctrlc::set_handler(handler);
    cancel
}
