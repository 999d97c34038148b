//! `rapport demo`: real customers, a decision per channel, then serve them.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;

use crate::{
    app::App,
    config::ServeConfig,
    grpc::{Api, Caller},
    http,
    proto::{
        DecideRequest, DecideResponse, Identity, Intent, OutcomeType, Presentation, Purpose, RespondRequest, View,
    },
    server::Started,
};

use super::{client::Target, print, sample::Sample, serve};

mod callers;

/// Options of `demo`: those of `serve`, with data of its own.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sample's files.
    #[arg(long, default_value = "examples/retail")]
    sample: PathBuf,
    /// Show the decisions and stop; do not serve.
    #[arg(long)]
    no_serve: bool,
    #[command(flatten)]
    serve: serve::Args,
}

/// Where the demo keeps its data when `--data-dir` is not given.
const DATA_DIR: &str = "data/demo";

/// Imports, shows, serves.
///
/// # Errors
/// The sample or the rules are missing or wrong, or the service cannot start.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let sample = Sample::open(&args.sample)?;
    let mut args = args;
    args.serve.data_dir.get_or_insert_with(|| DATA_DIR.into());
    let config = ServeConfig::resolve(args.serve)?;
    let app = serve::open(&config)?;
    let customers = sample.customers()?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let api = Arc::new(Api::new(Arc::clone(&app)));
    runtime.block_on(async {
        sample.import(&api, &config.data_dir, app.now().millis().div_euclid(1_000)).await?;
        say!("");
        Tour { app: &app, api: &api, customers: &customers }.show().await
    })?;
    if args.no_serve {
        app.store.close();
        return Ok(ExitCode::SUCCESS);
    }
    let pages = http::demo::router(&runtime.block_on(callers::choose(&api, &customers))?);
    drop(runtime);
    let customer = customers.first().map_or("12748", |c| c.value.as_str());
    serve::run_with(&config, app, pages, |started| go_on(customer, started))
}

/// What to try next, with the addresses the service really has.
fn go_on(customer: &str, started: &Started) {
    let default = Target::DEFAULT_ADDRESS.strip_prefix("http://");
    let public = reachable(started.public);
    let address = if default == Some(public.as_str()) { String::new() } else { format!(" --address http://{public}") };
    let private = reachable(started.private);
    say!(
        "\nopen http://{public}/demo\n\n\
         to go on, while the service runs:\n\
         \x20 cargo run --release -- decide -i customer_id:{customer} -p home_hero --trace{address}\n\
         \x20 cargo run --release -- decide -i customer_id:{customer} --present{address}\n\
         \x20 cargo run --release -- explain DECISION_ID{address}\n\
         \x20 cargo run --release -- report{address}\n\
         \x20 curl -s http://{private}/metrics | grep rapport_decisions\n\
         \x20 edit a file in rules/offers and ask again: the edit is live within a second\n"
    );
}

/// An address that a client on this machine can use.
fn reachable(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address.to_string()
}

struct Tour<'a> {
    app: &'a Arc<App>,
    api: &'a Api,
    customers: &'a [Identity],
}

/// Which channels a question leaves open.
#[derive(Clone, Copy)]
enum Through<'a> {
    /// All of them: the next best channel is part of the answer.
    Any,
    /// One.
    Only(&'a str),
}

impl Tour<'_> {
    async fn show(&self) -> anyhow::Result<()> {
        let snapshot = self.app.current();
        say!("one decision per channel, for real customers:");
        let mut shown = 0;
        for (at, channel) in snapshot.ruleset.channels.iter().enumerate() {
            say!("");
            if self.tell(&channel.name, at * 97).await? {
                shown += 1;
            } else {
                say!("{}: no customer of the sample may be told anything there now", channel.name);
            }
        }
        anyhow::ensure!(shown > 0, "no channel has anything to say to anybody; check the rules");
        Ok(())
    }

    /// A customer for whom the best answer to an open question goes through a
    /// channel (true); else one who can be told anything through it (false).
    async fn find(&self, channel: &str, from: usize) -> anyhow::Result<Option<(&Identity, bool)>> {
        let mut second = None;
        let (before, after) = self.customers.split_at(from % self.customers.len().max(1));
        for customer in after.iter().chain(before) {
            let best = self.ask(Through::Any, customer, Intent::Preview).await?;
            if winner(&best).is_some_and(|p| p.channel == channel) {
                return Ok(Some((customer, true)));
            }
            if second.is_none() {
                let answer = self.ask(Through::Only(channel), customer, Intent::Preview).await?;
                second = winner(&answer).map(|_| customer);
            }
        }
        Ok(second.map(|customer| (customer, false)))
    }

    async fn ask(&self, through: Through<'_>, customer: &Identity, intent: Intent) -> anyhow::Result<DecideResponse> {
        let allowed = match through {
            Through::Any => Vec::new(),
            Through::Only(channel) => vec![channel.to_owned()],
        };
        let request = DecideRequest {
            identities: vec![customer.clone()],
            allowed_channels: allowed,
            intent: intent.into(),
            view: View::Full.into(),
            ..DecideRequest::default()
        };
        self.api.decide(Caller::Service, request).await.map_err(|s| super::client::refused("asking for a decision", &s))
    }

    /// Shows a decision of a channel, declines it, and shows what comes next over
    /// all channels. False when nobody can be told anything there.
    async fn tell(&self, channel: &str, from: usize) -> anyhow::Result<bool> {
        let Some((customer, best)) = self.find(channel, from).await? else { return Ok(false) };
        let through = if best { Through::Any } else { Through::Only(channel) };
        let answer = self.ask(through, customer, Intent::Present).await?;
        say!("{channel}: customer {}", customer.value);
        answer.placements.iter().for_each(print::answer);
        let Some(presentation) = winner(&answer) else { return Ok(true) };
        let Some(code) = decline_code(presentation) else { return Ok(true) };
        let request = RespondRequest {
            presentation_token: presentation.presentation_token.clone(),
            outcome: OutcomeType::Decline.into(),
            reason_code: code.clone(),
            view: View::Full.into(),
            ..RespondRequest::default()
        };
        let response = self.api.respond(request).await.map_err(|s| super::client::refused("declining", &s))?;
        say!("  declined ({code}); the next best over all channels:");
        let next = match through {
            Through::Any => response.decision.unwrap_or_default(),
            Through::Only(_) => self.ask(Through::Any, customer, Intent::Preview).await?,
        };
        next.placements.iter().for_each(print::answer);
        Ok(true)
    }
}

/// A reason a person would give: no interest in what is sold, no time for what
/// is asked or offered as a service; else the first that is declared.
fn decline_code(presentation: &Presentation) -> Option<String> {
    let wanted = match presentation.purpose() {
        Purpose::Service => "not_now",
        Purpose::Marketing | Purpose::Unspecified => "not_interested",
    };
    let reasons = &presentation.agent.as_ref()?.decline_reasons;
    reasons.iter().find(|r| r.code == wanted).or_else(|| reasons.first()).map(|r| r.code.clone())
}

fn winner(answer: &DecideResponse) -> Option<&Presentation> {
    answer.placements.first()?.presentations.first().filter(|p| !p.presentation_token.is_empty())
}
