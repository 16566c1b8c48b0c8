//! A word that is heard even if the test passes.

use std::io::{self, Write as _};

/// Says something: the test harness captures `println!` and `eprintln!`, but not this.
pub fn say(text: &str) {
    writeln!(io::stderr(), "\n{text}").expect("stderr is open");
}
