//! Buffers: bodies, callout bodies, configurations.

use crate::error::Status;
use crate::imports::memory::{give, read, write_u32};
use crate::imports::{Ctx, Done, Halt, Imports, env};
use crate::state::State;
use crate::stream::Direction;

pub(super) fn register(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports,
        "proxy_get_buffer_bytes" => get(buffer: u32, start: u32, len: u32, ptr: u32, size: u32),
        "proxy_set_buffer_bytes" => set(buffer: u32, start: u32, len: u32, data: u32, data_len: u32),
        "proxy_get_buffer_status" => status(buffer: u32, len: u32, flags: u32),
    );
    Ok(())
}

const REQUEST_BODY: u32 = 0;
const RESPONSE_BODY: u32 = 1;
const CALLOUT_BODY: u32 = 4;
const VM_CONFIGURATION: u32 = 6;
const PLUGIN_CONFIGURATION: u32 = 7;
const LAST: u32 = 8;

fn body_direction(buffer: u32) -> Option<Direction> {
    match buffer {
        REQUEST_BODY => Some(Direction::Request),
        RESPONSE_BODY => Some(Direction::Response),
        _ => None,
    }
}

/// The buffer as it can be read now. A body outside its callbacks, and everything about TCP and gRPC, is empty.
fn content(state: &State, buffer: u32) -> Result<&[u8], Halt> {
    match buffer {
        REQUEST_BODY | RESPONSE_BODY => {
            let half = body_direction(buffer).zip(state.stream(state.context())).map(|(d, s)| s.half(d));
            Ok(half.and_then(|h| h.body()).map_or(&[], Vec::as_slice))
        }
        CALLOUT_BODY => Ok(&state.callout_response().ok_or(Status::NotFound)?.body),
        VM_CONFIGURATION => Ok(&state.settings.vm_configuration),
        PLUGIN_CONFIGURATION => Ok(&state.configuring.as_ref().ok_or(Status::NotFound)?.configuration),
        _ if buffer <= LAST => Ok(&[]),
        _ => Err(Status::BadArgument.into()),
    }
}

fn get(ctx: &mut Ctx<'_>, buffer: u32, start: u32, len: u32, ptr: u32, size: u32) -> Done {
    let all = content(ctx.data(), buffer)?;
    let wanted = usize::try_from(len).map_err(|_| Status::BadArgument)?;
    let rest = usize::try_from(start).ok().and_then(|s| all.get(s..)).unwrap_or_default();
    let bytes = rest.get(..wanted).unwrap_or(rest).to_vec();
    give(ctx, &bytes, ptr, size)
}

fn status(ctx: &mut Ctx<'_>, buffer: u32, len: u32, flags: u32) -> Done {
    let total = crate::vm::size(content(ctx.data(), buffer)?.len());
    write_u32(ctx, len, total)?;
    write_u32(ctx, flags, 0)
}

/// Envoy can replace a prefix or append, nothing else (`Buffer::copyFrom`).
fn set(ctx: &mut Ctx<'_>, buffer: u32, start: u32, len: u32, data: u32, data_len: u32) -> Done {
    content(ctx.data(), buffer)?;
    let new = read(ctx, data, data_len)?;
    let id = ctx.data().context();
    let body = body_direction(buffer)
        .zip(ctx.data_mut().stream_mut(id))
        .and_then(|(direction, stream)| stream.half_mut(direction).body_mut())
        .ok_or(Status::BadArgument)?;
    let bound = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    if start == 0 {
        let end = bound(len).min(body.len());
        body.splice(..end, new);
    } else if bound(start) >= body.len() {
        body.extend(new);
    } else {
        return Err(Status::BadArgument.into());
    }
    Ok(())
}
