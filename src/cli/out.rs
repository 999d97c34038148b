//! Lines on standard output.

use std::{
    fmt,
    io::{self, Write},
};

/// Writes a line, as `println!` does. A reader that has gone (`| head`) needs
/// no more lines, and that is no mistake.
pub fn line(text: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout().lock(), "{text}")
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // best effort: standard error may be gone as well
        let _ = writeln!(io::stderr(), "error: writing to standard output: {error}");
        std::process::exit(1);
    }
}

/// [`line`] with a format.
macro_rules! say {
    ($($arg:tt)*) => { $crate::cli::out::line(format_args!($($arg)*)) };
}
