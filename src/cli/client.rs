//! Reaching a running service.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::{FieldViolation, StatusExt};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the service is asked whether it is still there while a call is
/// under way.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How long it may take to say so; then the connection is given up.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);

/// Where the service is.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// Address of the service.
    #[arg(long, alias = "connect", env = "RAPPORT_ADDRESS", default_value = Target::DEFAULT_ADDRESS)]
    pub address: String,
    /// API key, when the service asks for one.
    #[arg(long, env = "RAPPORT_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
}

/// A connection that sends the API key with every call.
pub type Connection = InterceptedService<Channel, ApiKey>;

/// Adds the API key to every call.
#[derive(Clone)]
pub struct ApiKey(Option<MetadataValue<Ascii>>);

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

impl Target {
    /// Where the service listens unless it is told otherwise.
    pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:7070";

    /// Connects.
    ///
    /// # Errors
    /// The address is not a URL, or nothing listens there.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let address = &self.address;
        let url = if address.contains("://") { address.clone() } else { format!("http://{address}") };
        let endpoint = Endpoint::from_shared(url)
            .with_context(|| format!("`{address}` is not an address; write it as `http://127.0.0.1:7070`"))?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .tcp_keepalive(Some(KEEP_ALIVE_EVERY))
            .connect()
            .await
            .with_context(|| format!("connecting to `{address}`; is `rapport serve` running there?"))?;
        let key = match &self.api_key {
            None => None,
            Some(key) => Some(format!("Bearer {key}").parse().context("the API key holds characters no header takes")?),
        };
        Ok(InterceptedService::new(channel, ApiKey(key)))
    }
}

/// A failed call, in words: every wrong field on a line.
pub fn refused(doing: &str, status: &Status) -> anyhow::Error {
    let wrong: String = violations(status).iter().map(|wrong| format!("\n  {wrong}")).collect();
    anyhow::anyhow!("{doing}: {}: {}{wrong}", code_name(status), status.message())
}

/// What is wrong with the fields of a refused call.
pub fn violations(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let listed = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    let words = |wrong: &FieldViolation| match wrong.field.as_str() {
        "" => wrong.description.clone(),
        field => format!("`{field}` {}", wrong.description),
    };
    listed.iter().map(words).collect()
}

fn code_name(status: &Status) -> String {
    format!("{:?}", status.code())
}

/// Runs a client command to its end.
///
/// # Errors
/// Those of the command.
pub fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{AppError, Violation};

    #[test]
    fn every_wrong_field_is_told() {
        let wrong = |field: &str| Violation { field: field.into(), description: "is wrong".into() };
        let status: Status = AppError::Invalid(vec![wrong("view"), wrong("context.a")]).into();
        let told = refused("asking", &status).to_string();
        assert!(told.ends_with("2 invalid fields\n  `view` is wrong\n  `context.a` is wrong"), "{told}");
    }
}
