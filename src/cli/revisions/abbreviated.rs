//! Revisions named by the first digits of their hash.

use crate::{cli::client, proto::ListRevisionsRequest};

use super::Client;

/// Hex digits of a whole hash.
const DIGITS: usize = 16;
/// The fewest digits that name a revision.
const DIGITS_MIN: usize = 4;

/// The whole hash of a revision that is kept; what is no beginning of one goes
/// on as it is, for the service to answer.
///
/// # Errors
/// The service cannot be reached; more than one kept revision begins so.
pub async fn whole(service: &mut Client, named: String) -> anyhow::Result<String> {
    let digits = named.len() >= DIGITS_MIN && named.bytes().all(|byte| byte.is_ascii_hexdigit());
    if named.len() >= DIGITS || !digits {
        return Ok(named);
    }
    let beginning = named.to_ascii_lowercase();
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListRevisionsRequest { page_size: 0, page_token };
        let answer = service.list_revisions(request).await.map_err(|s| client::refused("listing the revisions", &s))?;
        let answer = answer.into_inner();
        found
            .extend(answer.revisions.into_iter().map(|kept| kept.revision).filter(|kept| kept.starts_with(&beginning)));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    anyhow::ensure!(found.len() < 2, "`{named}` names several revisions: {}; give more digits", found.join(", "));
    Ok(found.pop().unwrap_or(named))
}
