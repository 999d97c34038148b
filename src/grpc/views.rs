//! What a caller may see of a customer, and as far as it is wanted.

use tonic::Status;

use crate::proto;

use super::{
    Api, Sight,
    convert::{customer, fields::Wanted, reading::CONSISTENCY_TOKEN_BYTES_MAX},
};

impl Api {
    /// The one view of a customer, as the caller may see it.
    ///
    /// # Errors
    /// As [`crate::app::App::customer`]; every violation.
    pub async fn get_customer(
        &self,
        sight: Sight,
        wire: proto::GetCustomerRequest,
    ) -> Result<proto::GetCustomerResponse, Status> {
        let snapshot = self.app().current();
        let (identities, token, wanted) = self.read(&snapshot, |mut reading| {
            let identities = reading.identities_required("", wire.identities);
            let token = reading.text("consistency_token", wire.consistency_token, CONSISTENCY_TOKEN_BYTES_MAX);
            let wanted = Wanted::read(&mut reading, &wire.fields);
            reading.done((identities, token, wanted))
        })?;
        let view = sight.view(self.app().customer(&identities, &token).await?, &snapshot.ruleset);
        let item = |id| self.app().store.item_name(id);
        let record = |record| customer::record_key(&view.profile, record);
        let names = customer::Names { ruleset: &snapshot.ruleset, item: &item, record: &record };
        let mut customer = customer::write(&view, &names);
        wanted.limit(&mut customer);
        Ok(proto::GetCustomerResponse { customer: Some(customer) })
    }

    /// The merges behind a customer, as the caller may see them.
    ///
    /// # Errors
    /// As [`Api::merges`].
    pub async fn merges_seen(
        &self,
        sight: Sight,
        wire: proto::ListMergesRequest,
    ) -> Result<proto::ListMergesResponse, Status> {
        let mut answer = self.merges(wire).await?;
        let snapshot = self.app().current();
        for merge in &mut answer.merges {
            sight.identities(&mut merge.survivor_identities, &snapshot.ruleset);
            sight.identities(&mut merge.absorbed_identities, &snapshot.ruleset);
        }
        Ok(answer)
    }
}
