//! Which events are known already.

use std::sync::Arc;

use crate::domain::EventId;

use super::{Store, StoreError, blocking};

impl Store {
    /// Whether an event was recorded before, as far as its id is remembered.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn has_event(&self, id: EventId) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || Ok(shared.event(id)?.is_some())).await
    }
}
