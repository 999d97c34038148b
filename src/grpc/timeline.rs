//! What happened to a customer, in pages.

use tonic::Status;

use crate::proto;

use super::{
    Api, Sight,
    convert::{
        customer::{Names, record_key},
        timeline::Personal,
        timeline_page as timeline,
    },
};

impl Api {
    /// A page of what happened to a customer.
    ///
    /// # Errors
    /// As [`crate::app::App::timeline`]; every violation.
    pub async fn timeline(
        &self,
        sight: Sight,
        wire: proto::ListTimelineRequest,
    ) -> Result<proto::ListTimelineResponse, Status> {
        let personal = if sight == Sight::Whole { Personal::Shown } else { Personal::Hidden };
        let snapshot = self.app().current();
        let timeline::Asked { input, check } = self.read(&snapshot, |reading| timeline::read(reading, wire))?;
        let (page, hot) = self.app().timeline(input).await?;
        let item = |id| self.app().store.item_name(id);
        let record = |record| record_key(&hot.profile, record);
        let names = Names { ruleset: &snapshot.ruleset, item: &item, record: &record };
        let next = page.next.map(|next| self.app().place_of(next));
        Ok(proto::ListTimelineResponse {
            entries: page.entries.iter().map(|entry| timeline::write(entry, &names, personal)).collect(),
            next_page_token: next.map_or_else(String::new, |next| timeline::write_token(next, check)),
        })
    }
}
