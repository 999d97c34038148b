//! The content hash of a ruleset.

use sha2::{Digest, Sha256};

use crate::{domain::RulesetHash, rules::SourceFile};

/// The first 8 bytes of SHA-256 over every file's path and text, in order of
/// the paths. The directory all files share does not count, so that a ruleset
/// is the same wherever it is checked out.
pub fn of(files: &[SourceFile]) -> RulesetHash {
    let shared = shared_directory(files);
    let mut hash = Sha256::new();
    for file in files {
        for part in [&file.path[shared..], &*file.text] {
            // The length before the bytes keeps neighbours apart.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    let digest = hash.finalize();
    let first = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    RulesetHash(first)
}

/// Bytes of the longest directory prefix, with its slash.
fn shared_directory(files: &[SourceFile]) -> usize {
    let Some((first, rest)) = files.split_first() else { return 0 };
    let mut shared = first.path.rfind('/').map_or(0, |at| at + 1);
    for file in rest {
        while !file.path.starts_with(&first.path[..shared]) {
            shared = first.path[..shared].trim_end_matches('/').rfind('/').map_or(0, |at| at + 1);
        }
    }
    shared
}
