//! One number for everything that offers are compiled against: as long as it
//! stays, an offer whose text stays too need not be compiled again.

use std::fmt::{Debug, Write};

use xxhash_rust::xxh3::Xxh3;

/// A hash being taken.
pub struct Fingerprint(Xxh3);

impl Fingerprint {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self(Xxh3::new())
    }

    /// Notes a value by what `Debug` says of it, which for the plain data of
    /// rules is all of it. Not for values with maps in random order.
    pub fn note(&mut self, value: &impl Debug) {
        // The hash takes everything.
        let _ = write!(self, "{value:?}");
        // What ends here is apart from what begins next.
        self.0.update(&[0xff]);
    }

    /// Notes bytes.
    pub fn note_bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The number.
    pub fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

impl Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// The hash of some lines of the file at a path.
pub fn of_piece(path: &str, text: &str) -> u128 {
    let mut print = Fingerprint::new();
    print.note_bytes(path.as_bytes());
    print.note_bytes(text.as_bytes());
    print.finish()
}
