//! `exeat policy`: check and compile policies.
//!
//! A folder of files becomes one document ([`folder`], [`yaml`], [`merge`]), which the engine accepts or refuses by the
//! same code as the gateway does. What it says of a place in that document is brought back to file, line and column.

pub mod diagnostic;
mod environment;
mod explain;
pub mod folder;
pub mod generate;
pub mod load;
pub mod merge;
pub mod rehearsal;
mod suffix;
mod test;
pub mod yaml;

use crate::files::write_whole;
use crate::terminal::{Out, print, say};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::document::schema::SchemaKind;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `exeat policy`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Check a folder of policy files, and say what is wrong, where, and what to write instead.
    Check {
        /// The folder: every *.yaml, *.yml and *.json below it.
        folder: PathBuf,
        /// The gateway document. Without it the policy is checked for a gateway that speaks HTTPS.
        #[arg(long)]
        gateway: Option<PathBuf>,
        /// The environment; without it, every one that the policy has.
        #[arg(long, value_name = "NAME")]
        env: Option<String>,
    },
    /// Make the one JSON document that the filter reads.
    Compile {
        /// The folder: every *.yaml, *.yml and *.json below it.
        folder: PathBuf,
        /// The gateway document.
        #[arg(long)]
        gateway: PathBuf,
        /// The environment; without it, that which the gateway document names.
        #[arg(long, value_name = "NAME")]
        env: Option<String>,
        /// Where to write it; without this it is printed.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Send the requests of test files through the policy, and say what comes out otherwise than they expect.
    Test(test::TestArgs),
    /// Say what becomes of one request, and why: what each rule of its agent makes of it.
    Explain(Box<explain::ExplainArgs>),
    /// Print the JSON Schema of a kind of file, for editors.
    Schema {
        /// Whose file: the gateway document, a file of the platform, a file of a team.
        #[arg(value_parser = kind)]
        kind: SchemaKind,
    },
    /// Make a policy of any size, to see what many teams look like and to measure a gateway with.
    Generate {
        /// Where to write it: gateway.yaml and the folder policy. Must be empty or absent.
        folder: PathBuf,
        /// Teams.
        #[arg(long, default_value_t = generate::Shape::FORTY_TEAMS.teams, value_parser = amount())]
        teams: usize,
        /// Agents, over all teams.
        #[arg(long, default_value_t = generate::Shape::FORTY_TEAMS.agents, value_parser = amount())]
        agents: usize,
        /// Rules, over all agents.
        #[arg(long, default_value_t = generate::Shape::FORTY_TEAMS.rules, value_parser = amount())]
        rules: usize,
        /// Another seed, another policy of that size.
        #[arg(long, default_value_t = generate::Shape::FORTY_TEAMS.seed)]
        seed: u64,
    },
}

/// Runs `exeat policy`.
pub fn run(args: PolicyArgs) -> anyhow::Result<()> {
    match args.command {
        PolicyCommand::Test(args) => test::run(&args),
        PolicyCommand::Explain(args) => explain::run(*args),
        PolicyCommand::Check { folder, gateway, env } => check(&folder, gateway.as_deref(), env.as_deref()),
        PolicyCommand::Compile { folder, gateway, env, output } => {
            compile(&folder, &gateway, env.as_deref(), output.as_deref())
        }
        PolicyCommand::Schema { kind } => {
            Out::new().write_all(schema(kind)?.as_bytes()).context("cannot print the schema")
        }
        PolicyCommand::Generate { folder, teams, agents, rules, seed } => {
            generate::generate(generate::Shape { teams, agents, rules, seed }).write(&folder)
        }
    }
}

fn check(folder: &Path, gateway: Option<&Path>, env: Option<&str>) -> anyhow::Result<()> {
    let all = explain(match env {
        Some(_) => load::load_for(folder, gateway, env).map(|loaded| vec![loaded]),
        None => load::load_all(folder, gateway),
    })?;
    for loaded in all {
        let (policy, environment) = (loaded.configuration.policy(), loaded.environment.as_deref());
        print(&format!(
            "ok{}: {} destinations, {} agents, {} rules, digest {}\n",
            environment.map(|name| format!(", {name}")).unwrap_or_default(),
            policy.destinations(),
            policy.agents(),
            policy.rules(),
            policy.digest()
        ))?;
    }
    Ok(())
}

fn compile(folder: &Path, gateway: &Path, env: Option<&str>, output: Option<&Path>) -> anyhow::Result<()> {
    let loaded = load_or_explain(folder, Some(gateway), env)?;
    if !loaded.left_out.is_empty() {
        say!("left out, since no decision needs it: {}", loaded.left_out);
    }
    let mut text = serde_json::to_string_pretty(&loaded.document)?;
    text.push('\n');
    match output {
        Some(path) => write_whole(path, text.as_bytes()),
        None => Out::new().write_all(text.as_bytes()).context("cannot print the document"),
    }
}

/// Loads a policy for one environment; prints every warning, or every error.
pub(crate) fn load_or_explain(
    folder: &Path,
    gateway: Option<&Path>,
    env: Option<&str>,
) -> anyhow::Result<load::Loaded> {
    let loaded = explain(load::load_for(folder, gateway, env).map(|loaded| vec![loaded]))?;
    loaded.into_iter().next().context("no policy was loaded")
}

/// Prints every warning, each once, or every error.
fn explain(loaded: Result<Vec<load::Loaded>, Vec<diagnostic::Diagnostic>>) -> anyhow::Result<Vec<load::Loaded>> {
    match loaded {
        Ok(loaded) => {
            let mut warnings: Vec<_> = loaded.iter().flat_map(|loaded| loaded.warnings(now())).collect();
            warnings.sort_by(|a, b| (&a.location, &a.message).cmp(&(&b.location, &b.message)));
            warnings.dedup();
            for warning in warnings {
                say!("warning: {warning}");
            }
            Ok(loaded)
        }
        Err(errors) => {
            for error in &errors {
                say!("{error}");
            }
            match errors.len() {
                1 => bail!("the policy has an error"),
                count => bail!("the policy has {count} errors"),
            }
        }
    }
}

/// Each team has an agent at least, and each agent a rule. More than a million of anything is a slip of the keyboard.
fn amount() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=1_000_000)
}

fn kind(word: &str) -> Result<SchemaKind, String> {
    let kind = SchemaKind::ALL.into_iter().find(|kind| kind.word() == word);
    kind.ok_or_else(|| format!("write one of {}", SchemaKind::ALL.map(SchemaKind::word).join(", ")))
}

/// The JSON Schema of a kind of file, as it is committed.
///
/// # Errors
/// None that can happen: a schema is JSON.
pub fn schema(kind: SchemaKind) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&kind.schema())?))
}

fn now() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
