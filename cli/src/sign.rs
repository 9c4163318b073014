//! `exeat sign`: the headers of a signed request, by hand.

pub mod output;
pub mod request;

pub use request::{SignOptions, SignedRequest, UnsignedRequest, sign_request};

use crate::key::KeySource;
use crate::members::MemberArgs;
use crate::terminal::print;
use anyhow::{Context as _, bail};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::signature::Component;
use output::{CurlBody, Format};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Arguments of `exeat sign`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  exeat sign --key signer.key --keyid signer-eu-1 --agent support/summarizer --session s-1 \\
    --via http://127.0.0.1:10000 --format curl https://api.crm.example/v1/orders/7 | curl --config -")]
pub struct SignArgs {
    #[command(flatten)]
    options: Box<Options>,
}

#[derive(Debug, Args)]
struct Options {
    /// URL of the destination, as it goes over the wire.
    url: String,
    /// Method; POST when there is a body.
    #[arg(long)]
    method: Option<String>,
    /// Header of the request, say 'Accept: text/plain'. Not covered unless --cover names it.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Component to cover besides those required, say accept or '"cookie";bs'.
    #[arg(long, value_name = "COMPONENT")]
    cover: Vec<String>,
    /// Body, as text.
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    body: Option<String>,
    /// File that holds the body.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// Content-Type of the body; covered.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Origin of the gateway's listener, where the request is sent.
    #[arg(long, value_name = "ORIGIN")]
    via: Option<String>,

    /// Private key: a file, or env:NAME.
    #[arg(long, value_name = "FILE|env:NAME", help_heading = "Signature")]
    key: KeySource,
    /// Id under which the policy knows the key.
    #[arg(long, help_heading = "Signature", value_parser = crate::key::keyid)]
    keyid: String,
    /// Time of signing: seconds since the Unix epoch, or +SECONDS or -SECONDS from now.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Signature")]
    created: Option<String>,
    /// Seconds after which the signature ends.
    #[arg(long, value_name = "SECONDS", help_heading = "Signature")]
    expires_in: Option<i64>,
    /// Nonce; random unless given.
    #[arg(long, help_heading = "Signature", value_parser = nonce)]
    nonce: Option<String>,

    #[command(flatten)]
    context: ContextArgs,

    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Members of the context.
#[derive(Debug, Args)]
#[command(next_help_heading = "Context")]
struct ContextArgs {
    /// Workload identity of the agent.
    #[arg(long)]
    agent: String,
    /// One run of it.
    #[arg(long)]
    session: String,
    /// The gateway that the context is for.
    #[arg(long)]
    gateway: Option<String>,
    #[command(flatten)]
    members: MemberArgs,
    /// Another member: NAME=TEXT, or NAME:=VALUE with a structured-field value.
    #[arg(long = "attribute", value_name = "NAME=TEXT")]
    attributes: Vec<String>,
}

pub(crate) fn word<T: Copy + Send + Sync + 'static>(
    words: &'static [(T, &'static str)],
) -> impl clap::builder::TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(_, word)| *word)).try_map(move |text| {
        words.iter().find(|(_, word)| *word == text).map(|(value, _)| *value).ok_or("no such word")
    })
}

/// Runs `exeat sign`.
pub fn run(args: SignArgs) -> anyhow::Result<()> {
    let args = *args.options;
    let (request, body) = unsigned(&args)?;
    let context = context_fields(args.context)?;
    let created = time(args.created.as_deref())?;
    let mut options = SignOptions::new(&args.keyid, created);
    options.expires = args.expires_in.map(|seconds| created.saturating_add(seconds));
    options.nonce = args.nonce;
    options.cover = args.cover.iter().map(|text| component(text)).collect::<Result<_, _>>()?;
    let key = args.key.load()?;
    let signed = sign_request(&request, &context, &key, &options)
        .with_context(|| format!("cannot sign the request to {}", args.url))?;
    let url = match (&args.via, &request.path) {
        (Some(origin), Some(path)) => format!("{}{path}", origin.trim_end_matches('/')),
        _ => args.url,
    };
    match args.format {
        Format::Text => print(&output::text(&request, &signed))?,
        Format::Json => print(&format!("{:#}\n", output::json(&request, &signed, &url)))?,
        Format::Curl if request.path.is_none() => {
            bail!("curl makes its CONNECT itself: use --format text with its --proxy-header")
        }
        Format::Curl => print(&output::curl(&request, &signed, &url, body.as_ref()))?,
    }
    Ok(())
}

fn unsigned(args: &Options) -> anyhow::Result<(UnsignedRequest, Option<CurlBody>)> {
    let (bytes, body) = match (&args.body, &args.body_file) {
        (Some(text), _) => (Some(text.clone().into_bytes()), Some(CurlBody::Text(text.clone()))),
        (None, Some(path)) => {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read the body {}", path.display()))?;
            let name = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
            (Some(bytes), Some(CurlBody::File(name.to_owned())))
        }
        (None, None) => (None, None),
    };
    let method = args.method.as_deref().unwrap_or(if bytes.is_some() { "POST" } else { "GET" });
    let mut request = UnsignedRequest::new(method, &args.url)?;
    if let Some(origin) = &args.via {
        let gateway = UnsignedRequest::new("GET", origin).context("--via is the origin of a listener")?;
        request.scheme = gateway.scheme;
    }
    for header in &args.headers {
        let (name, value) = field(header)?;
        request = request.field(name, value);
    }
    if let Some(content_type) = &args.content_type {
        request = request.field("content-type", content_type);
    }
    request.body = bytes;
    Ok((request, body))
}

/// A header as it is written. One with a line end would be two on the wire; another host than the URL's is not what is signed.
pub(crate) fn field(header: &str) -> anyhow::Result<(&str, &str)> {
    let (name, value) = header
        .split_once(':')
        .with_context(|| format!("--header {header:?} has no colon; write it as 'Name: value'"))?;
    let (name, value) = (name.trim(), value.trim());
    if value.contains(['\r', '\n', '\0']) {
        bail!("--header {header:?} has a line end or a NUL in its value; leave it out");
    }
    if name.eq_ignore_ascii_case("host") {
        bail!("--header {header:?}: what is signed is the host of the URL; write it there, and --via for the gateway");
    }
    Ok((name, value))
}

/// What a gateway takes for a nonce.
fn nonce(text: &str) -> Result<String, String> {
    match text.len() {
        1..=128 => Ok(text.to_owned()),
        bytes => Err(format!("it has {bytes} bytes; write 1 to 128, or leave it out for a random one")),
    }
}

fn context_fields(args: ContextArgs) -> anyhow::Result<ContextFields> {
    let attributes = args.attributes.iter().map(|text| attribute(text)).collect::<Result<_, _>>()?;
    Ok(ContextFields { gateway: args.gateway, ..args.members.fields(args.agent, args.session, attributes) })
}

/// NAME=TEXT, or NAME:=VALUE with a structured-field value.
pub(crate) fn attribute(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text
        .split_once('=')
        .with_context(|| format!("--attribute {text:?} has no equals sign; write it as NAME=TEXT"))?;
    Ok(match name.strip_suffix(':') {
        Some(name) => (name.to_owned(), value.to_owned()),
        None => (name.to_owned(), exeat_engine::context::sign::string(name, value)?),
    })
}

fn component(text: &str) -> anyhow::Result<Component> {
    Component::parse(text).map_err(|why| anyhow::anyhow!("--cover {text:?} {why}"))
}

fn time(text: Option<&str>) -> anyhow::Result<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock of this machine is before 1970")?;
    let now = i64::try_from(now.as_secs())?;
    let Some(text) = text else { return Ok(now) };
    let number: i64 = text
        .parse()
        .with_context(|| format!("--created {text:?} is neither seconds since 1970 nor +SECONDS or -SECONDS"))?;
    Ok(if text.starts_with(['+', '-']) { now.saturating_add(number) } else { number })
}
