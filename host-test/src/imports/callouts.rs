//! HTTP callouts, and the gRPC calls that no cluster of this host serves.

use std::time::Duration;

use crate::callout::Callout;
use crate::error::Status;
use crate::headers::Kind;
use crate::imports::memory::{give, read, write_u32};
use crate::imports::{Ctx, Done, Imports, env};
use crate::pairs;

pub(super) fn register(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports,
        "proxy_http_call" => http_call(
            cluster: u32, cluster_len: u32, headers: u32, headers_len: u32, body: u32, body_len: u32,
            trailers: u32, trailers_len: u32, timeout: u32, token: u32),
        "proxy_get_status" => get_status(code: u32, ptr: u32, size: u32),
        "proxy_grpc_call" => grpc_call(
            a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32, k: u32, l: u32),
        "proxy_grpc_stream" => grpc_stream(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32),
        "proxy_grpc_send" => grpc_send(token: u32, message: u32, message_len: u32, end: u32),
        "proxy_grpc_cancel" => grpc_token(token: u32),
        "proxy_grpc_close" => grpc_token(token: u32),
    );
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "the ABI's signature")]
fn http_call(
    ctx: &mut Ctx<'_>,
    cluster: u32,
    cluster_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    trailers: u32,
    trailers_len: u32,
    timeout: u32,
    token: u32,
) -> Done {
    let cluster = String::from_utf8_lossy(&read(ctx, cluster, cluster_len)?).into_owned();
    let body = read(ctx, body, body_len)?;
    let mut headers = pairs::decode(&read(ctx, headers, headers_len)?).canonical(Kind::Request);
    let trailers = pairs::decode(&read(ctx, trailers, trailers_len)?);
    write_u32(ctx, token, 0)?;
    // Envoy reads the timeout as a signed number.
    let timeout = i32::from_ne_bytes(timeout.to_ne_bytes());
    let timeout = u64::try_from(timeout).map_err(|_| Status::BadArgument)?;
    let state = ctx.data_mut();
    let complete = [":path", ":method", ":authority"].iter().all(|name| headers.contains(name));
    if !state.settings.clusters.contains(&cluster) || !complete {
        return Err(Status::BadArgument.into());
    }
    if !body.is_empty() {
        headers.replace(Kind::Request, "content-length", body.len().to_string().as_bytes());
    }
    let timeout = (timeout > 0).then(|| Duration::from_millis(timeout));
    let due = timeout.map(|t| state.clock.monotonic().saturating_add(t));
    // Tokens of HTTP calls are multiples of four: the low bits tell the three sorts of calls apart.
    state.next_callout = state.next_callout.wrapping_add(4);
    let (id, root) = (state.next_callout, state.root_id());
    state.callouts.insert(id, Callout { token: id, root, cluster, headers, body, trailers, timeout, due });
    write_u32(ctx, token, id)
}

fn get_status(ctx: &mut Ctx<'_>, code: u32, ptr: u32, size: u32) -> Done {
    let (number, message) = ctx.data().status.clone();
    write_u32(ctx, code, number)?;
    give(ctx, &message, ptr, size)
}

/// Without a gRPC cluster of that name Envoy says `ParseFailure`.
#[allow(clippy::too_many_arguments, clippy::many_single_char_names, reason = "the ABI's signature")]
fn grpc_call(
    _: &mut Ctx<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Done {
    Err(Status::ParseFailure.into())
}

#[allow(clippy::too_many_arguments, reason = "the ABI's signature")]
fn grpc_stream(_: &mut Ctx<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32) -> Done {
    Err(Status::ParseFailure.into())
}

fn grpc_send(_: &mut Ctx<'_>, _: u32, _: u32, _: u32, _: u32) -> Done {
    Err(Status::BadArgument.into())
}

fn grpc_token(_: &mut Ctx<'_>, _: u32) -> Done {
    Err(Status::BadArgument.into())
}
