//! Log, time, timers, and what steers contexts and streams.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Status;
use crate::headers::Kind;
use crate::imports::memory::{give, read, write_u32, write_u64};
use crate::imports::{Ctx, Done, Imports, env};
use crate::message::{LocalReply, ReplyOrigin};
use crate::pairs;
use crate::process::Level;
use crate::state::{After, ForeignCall};
use crate::stream::Direction;

pub(super) fn register(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports,
        "proxy_log" => log(level: u32, ptr: u32, len: u32),
        "proxy_get_log_level" => get_log_level(level: u32),
        "proxy_get_current_time_nanoseconds" => get_time(ptr: u32),
        "proxy_set_tick_period_milliseconds" => set_tick_period(millis: u32),
        "proxy_continue_stream" => continue_stream(stream: u32),
        "proxy_close_stream" => close_stream(stream: u32),
        "proxy_send_local_response" => send_local_response(
            status: u32, details: u32, details_len: u32, body: u32, body_len: u32,
            headers: u32, headers_len: u32, grpc: u32),
        "proxy_set_effective_context" => set_effective_context(id: u32),
        "proxy_done" => done(),
        "proxy_call_foreign_function" => call_foreign_function(
            name: u32, name_len: u32, arguments: u32, arguments_len: u32, ptr: u32, size: u32),
    );
    Ok(())
}

fn log(ctx: &mut Ctx<'_>, level: u32, ptr: u32, len: u32) -> Done {
    let level = Level::from_abi(level).ok_or(Status::BadArgument)?;
    let message = String::from_utf8_lossy(&read(ctx, ptr, len)?).into_owned();
    ctx.data_mut().write_log(level, message);
    Ok(())
}

fn get_log_level(ctx: &mut Ctx<'_>, level: u32) -> Done {
    let current = ctx.data().settings.log_level as u32;
    write_u32(ctx, level, current)
}

fn get_time(ctx: &mut Ctx<'_>, ptr: u32) -> Done {
    let now = ctx.data().clock.unix_nanos();
    write_u64(ctx, ptr, now)
}

fn set_tick_period(ctx: &mut Ctx<'_>, millis: u32) -> Done {
    let state = ctx.data_mut();
    let (id, now) = (state.root_id(), state.clock.monotonic());
    if let Some(root) = state.root_mut(id) {
        let period = Duration::from_millis(u64::from(millis));
        root.tick = (millis != 0).then(|| (period, now.saturating_add(period)));
    }
    Ok(())
}

fn direction(stream: u32) -> Result<Option<Direction>, Status> {
    match stream {
        0 => Ok(Some(Direction::Request)),
        1 => Ok(Some(Direction::Response)),
        // TCP streams: this host has none.
        2 | 3 => Ok(None),
        _ => Err(Status::BadArgument),
    }
}

fn continue_stream(ctx: &mut Ctx<'_>, stream: u32) -> Done {
    let Some(direction) = direction(stream)? else {
        return if stream == 2 { Ok(()) } else { Err(Status::Unimplemented.into()) };
    };
    let state = ctx.data_mut();
    let id = state.context();
    let Some(target) = state.stream_mut(id) else { return Ok(()) };
    let early = target.half(direction).headers.is_none();
    // From here on the filter reaches the request no more, whichever direction continues.
    target.request.show_headers = false;
    target.request.show_data = false;
    target.request.show_trailers = false;
    if early {
        let message = format!("proxy_continue_stream({direction:?}) before its headers arrived: Envoy crashes");
        state.violation.get_or_insert(message);
        return Ok(());
    }
    state.after.push(After::Continue(id, direction));
    Ok(())
}

fn close_stream(ctx: &mut Ctx<'_>, stream: u32) -> Done {
    if direction(stream)?.is_some() {
        let state = ctx.data_mut();
        let id = state.context();
        if state.stream(id).is_some() {
            state.after.push(After::Close(id));
        }
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "the ABI's signature")]
fn send_local_response(
    ctx: &mut Ctx<'_>,
    status: u32,
    details: u32,
    details_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    grpc: u32,
) -> Done {
    let details = String::from_utf8_lossy(&read(ctx, details, details_len)?).replace(char::is_whitespace, "_");
    let body = read(ctx, body, body_len)?;
    let headers = pairs::decode(&read(ctx, headers, headers_len)?).canonical(Kind::Response);
    // 0 to 16 are gRPC's codes; SDKs send -1 for none.
    let grpc = (grpc <= 16).then_some(grpc);
    let state = ctx.data_mut();
    state.stop = true;
    let id = state.context();
    if state.stream(id).is_some() {
        let status = u16::try_from(status).unwrap_or(u16::MAX);
        let reply = LocalReply { status, headers, body, details, origin: ReplyOrigin::Filter };
        state.after.push(After::Reply(id, Box::new(reply), grpc));
    }
    Ok(())
}

fn set_effective_context(ctx: &mut Ctx<'_>, id: u32) -> Done {
    let state = ctx.data_mut();
    if !state.is_alive(id) {
        return Err(Status::BadArgument.into());
    }
    state.effective = id;
    Ok(())
}

fn done(ctx: &mut Ctx<'_>) -> Done {
    let state = ctx.data_mut();
    let id = state.root_id();
    let root = state.root_mut(id).filter(|r| r.pending).ok_or(Status::NotFound)?;
    root.pending = false;
    state.after.push(After::DeleteRoot(id));
    Ok(())
}

fn call_foreign_function(
    ctx: &mut Ctx<'_>,
    name: u32,
    name_len: u32,
    arguments: u32,
    arguments_len: u32,
    ptr: u32,
    size: u32,
) -> Done {
    let name = String::from_utf8_lossy(&read(ctx, name, name_len)?).into_owned();
    let arguments = read(ctx, arguments, arguments_len)?;
    let state = ctx.data_mut();
    let function = state.settings.foreign.get(&name).map(Arc::clone).ok_or(Status::NotFound)?;
    let id = state.context();
    let filter_state = state.stream_mut(id).map(|s| &mut s.filter_state);
    let results = function(ForeignCall { arguments: &arguments, filter_state })?;
    give(ctx, &results, ptr, size)
}
