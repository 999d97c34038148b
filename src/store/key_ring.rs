//! Secrets of a data directory, one file per purpose: `keys/<purpose>.key`
//! with a line `id key created` per key, the key in hexadecimal, the newest
//! last. Every id ever used stays readable; the newest signs.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{StoreError, seal};

/// The purpose whose secret keys the hashes of identities. Never rotated:
/// every stored hash depends on it.
pub const IDENTITY: &str = "identity";
/// The purpose whose secret seals what belongs to no customer. Never rotated:
/// a record does not tell which key sealed it.
pub const STORE: &str = "store";
/// Most keys of one purpose.
pub const KEYS_MAX: usize = 1_000;
/// Most bytes of a key file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A key and its id.
type Key = (u32, [u8; 32]);

/// The keys of a purpose, newest last; one is made on first use.
///
/// # Errors
/// The key file cannot be read or written, or a line in it is damaged.
pub fn load_or_create(dir: &Path, purpose: &str) -> Result<Vec<Key>, StoreError> {
    let path = path_of(dir, purpose)?;
    match read(&path)? {
        Some(text) => parse(&path, &text),
        None => add(&path, "", Vec::new()),
    }
}

/// Adds a new key, which signs from now on; the older ones stay readable.
/// Answers all of them, newest last.
///
/// # Errors
/// As [`load_or_create`]; and [`IDENTITY`] and [`STORE`] cannot be rotated.
pub fn rotate(dir: &Path, purpose: &str) -> Result<Vec<Key>, StoreError> {
    if purpose == IDENTITY {
        return Err(refused("rotating the key `identity`: every stored hash depends on it; it cannot be changed"));
    }
    if purpose == STORE {
        return Err(refused("rotating the key `store`: what it sealed would be lost; it cannot be changed"));
    }
    let path = path_of(dir, purpose)?;
    let Some(text) = read(&path)? else {
        return add(&path, "", Vec::new());
    };
    let keys = parse(&path, &text)?;
    if keys.len() >= KEYS_MAX {
        return Err(refused(&format!(
            "rotating `{}`: it has `{KEYS_MAX}` keys, the most there can be; remove lines that no token in use needs",
            path.display()
        )));
    }
    add(&path, &text, keys)
}

/// A secret of the data directory that never changes: [`IDENTITY`] or [`STORE`].
///
/// # Errors
/// As [`load_or_create`].
pub fn secret(dir: &Path, purpose: &str) -> Result<[u8; 32], StoreError> {
    let keys = load_or_create(dir, purpose)?;
    match keys[..] {
        [(_, key)] => Ok(key),
        _ => Err(StoreError::Corrupt(format!(
            "reading `{}`: it must have exactly one key; restore it from a copy",
            path_of(dir, purpose)?.display()
        ))),
    }
}

/// The lines of a purpose's key file; `None` when there is none.
///
/// # Errors
/// As [`load_or_create`].
pub(super) fn text(dir: &Path, purpose: &str) -> Result<Option<String>, StoreError> {
    let path = path_of(dir, purpose)?;
    let text = read(&path)?;
    text.as_deref().map_or(Ok(Vec::new()), |text| parse(&path, text))?;
    Ok(text)
}

/// Replaces the keys of a purpose by lines from elsewhere.
///
/// # Errors
/// They are no keys; the key file cannot be written.
pub(super) fn put(dir: &Path, purpose: &str, text: &str) -> Result<(), StoreError> {
    let path = path_of(dir, purpose)?;
    parse(&path, text)?;
    replace(&path, text).map_err(|e| failed("writing", &path, e))
}

fn refused(message: &str) -> StoreError {
    StoreError::Corrupt(message.to_owned())
}

fn failed(doing: &str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { doing: format!("{doing} `{}`", path.display()), source }
}

fn path_of(dir: &Path, purpose: &str) -> Result<PathBuf, StoreError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if purpose.is_empty() || !purpose.bytes().all(plain) {
        return Err(refused(&format!("`{purpose}` is no purpose of a key: use lower-case letters, digits, `_`, `-`")));
    }
    Ok(dir.join("keys").join(format!("{purpose}.key")))
}

/// The text of a key file; `None` when there is none.
fn read(path: &Path) -> Result<Option<String>, StoreError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            Err(refused(&format!("reading `{}`: it is longer than `{FILE_BYTES_MAX}` bytes", path.display())))
        }
        Ok(_) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(refused(&format!("reading `{}`: it is not text; restore it from a copy", path.display())))
            }
            Err(source) => Err(failed("reading", path, source)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("reading", path, source)),
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Key>, StoreError> {
    let mut keys: Vec<Key> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let damaged = |what: &str| {
            let (path, line) = (path.display(), at + 1);
            StoreError::Corrupt(format!("reading keys: {path}:{line}: {what}; restore the file from a copy"))
        };
        let key = parse_line(line).map_err(damaged)?;
        if keys.last().is_some_and(|last| last.0 >= key.0) {
            return Err(damaged("the id is not larger than the one before"));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(refused(&format!("reading keys: `{}` is empty; restore it from a copy", path.display())));
    }
    Ok(keys)
}

fn parse_line(line: &str) -> Result<Key, &'static str> {
    let mut words = line.split(' ');
    let (Some(id), Some(key), Some(created), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err("a line must be `id key created`");
    };
    let id = id.parse().map_err(|_| "the id must be a number")?;
    let created: Result<jiff::Timestamp, _> = created.parse();
    if created.is_err() {
        return Err("the time of creation must be a moment as in RFC 3339");
    }
    Ok((id, parse_hex(key).ok_or("the key must be 64 hexadecimal digits")?))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let mut key = [0_u8; 32];
    if pairs.len() != key.len() {
        return None;
    }
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(key)
}

/// Writes the file anew with one more key.
fn add(path: &Path, text: &str, mut keys: Vec<Key>) -> Result<Vec<Key>, StoreError> {
    use std::fmt::Write as _;
    let id = keys.last().map_or(1, |last| last.0.saturating_add(1));
    let key = seal::random_bytes("a secret key")?;
    let mut lines = text.to_owned();
    if !lines.is_empty() && !lines.ends_with('\n') {
        lines.push('\n');
    }
    let hex = key.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let created = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let _ = writeln!(lines, "{id} {hex} {created}");
    replace(path, &lines).map_err(|e| failed("writing", path, e))?;
    keys.push((id, key));
    Ok(keys)
}

/// Replaces a file as a whole, durably: what is read is the old or the new.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let temporary = path.with_extension("key.new");
    let _ = std::fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()?;
    if let Some(above) = dir.parent() {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(dir: &tempfile::TempDir, purpose: &str) -> PathBuf {
        dir.path().join("keys").join(format!("{purpose}.key"))
    }

    #[test]
    fn makes_a_key_once_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_create(dir.path(), "links").unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(load_or_create(dir.path(), "links").unwrap(), made);
        assert_ne!(load_or_create(dir.path(), "tokens").unwrap(), made);
        let mode = std::fs::metadata(file(&dir, "links")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn rotating_keeps_the_older_keys() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(dir.path(), "links").unwrap();
        let both = rotate(dir.path(), "links").unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both[0], first[0]);
        assert!(both[1].0 > both[0].0 && both[1].1 != both[0].1);
        assert_eq!(load_or_create(dir.path(), "links").unwrap(), both);
        assert_eq!(rotate(dir.path(), "fresh").unwrap().len(), 1);
    }

    #[test]
    fn the_secrets_of_the_directory_never_change() {
        let dir = tempfile::tempdir().unwrap();
        for purpose in [IDENTITY, STORE] {
            let made = secret(dir.path(), purpose).unwrap();
            assert!(rotate(dir.path(), purpose).is_err());
            assert_eq!(secret(dir.path(), purpose).unwrap(), made);
        }
    }

    #[test]
    fn damage_is_an_error_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        rotate(dir.path(), "links").unwrap();
        rotate(dir.path(), "links").unwrap();
        let good = std::fs::read_to_string(file(&dir, "links")).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        let created = "2026-01-01T00:00:00Z";
        let key = "ab".repeat(32);
        for bad in [
            String::new(),
            lines[1][..40].to_owned(),
            format!("x {key} {created}"),
            format!("9 {} {created}", &key[1..]),
            format!("9 {}zz {created}", &key[2..]),
            format!("9 {key} yesterday"),
            format!("9 {key} {created} more"),
            format!("1 {key} {created}"),
        ] {
            std::fs::write(file(&dir, "links"), format!("{}\n{bad}\n", lines[0])).unwrap();
            let error = load_or_create(dir.path(), "links").unwrap_err().to_string();
            assert!(error.contains("links.key:2: "), "{bad}: {error}");
            assert!(rotate(dir.path(), "links").is_err());
        }
        for bad in [&b""[..], b"\xff\xfe\n"] {
            std::fs::write(file(&dir, "links"), bad).unwrap();
            assert!(load_or_create(dir.path(), "links").unwrap_err().to_string().contains("links.key"));
        }
    }

    #[test]
    fn a_purpose_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        for purpose in ["", "../x", "a/b", "A", "a.b"] {
            assert!(load_or_create(dir.path(), purpose).is_err(), "{purpose}");
        }
    }
}
