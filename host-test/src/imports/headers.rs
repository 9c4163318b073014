//! Header maps: which one is visible when, and the seven calls on them.

use crate::error::Status;
use crate::headers::{Headers, Kind};
use crate::imports::memory::{give, read, write_u32};
use crate::imports::{Ctx, Done, Halt, Imports, env};
use crate::pairs;
use crate::state::State;
use crate::stream::Direction;

pub(super) fn register(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports,
        "proxy_get_header_map_pairs" => get_pairs(map: u32, ptr: u32, size: u32),
        "proxy_set_header_map_pairs" => set_pairs(map: u32, ptr: u32, size: u32),
        "proxy_get_header_map_value" => get_value(map: u32, key: u32, key_len: u32, ptr: u32, size: u32),
        "proxy_add_header_map_value" => add_value(map: u32, key: u32, key_len: u32, value: u32, value_len: u32),
        "proxy_replace_header_map_value" => replace_value(map: u32, key: u32, key_len: u32, value: u32, value_len: u32),
        "proxy_remove_header_map_value" => remove_value(map: u32, key: u32, key_len: u32),
        "proxy_get_header_map_size" => get_size(map: u32, size: u32),
    );
    Ok(())
}

/// Map types of the ABI.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Map {
    Headers(Direction),
    Trailers(Direction),
    /// gRPC metadata: this host makes no gRPC calls, so there never is any.
    Grpc,
    CalloutHeaders,
    CalloutTrailers,
}

impl Map {
    fn from_abi(map: u32) -> Result<Self, Halt> {
        Ok(match map {
            0 => Self::Headers(Direction::Request),
            1 => Self::Trailers(Direction::Request),
            2 => Self::Headers(Direction::Response),
            3 => Self::Trailers(Direction::Response),
            4 | 5 => Self::Grpc,
            6 => Self::CalloutHeaders,
            7 => Self::CalloutTrailers,
            _ => return Err(Status::BadArgument.into()),
        })
    }

    fn kind(self) -> Kind {
        match self {
            Self::Headers(direction) => direction.kind(),
            Self::CalloutHeaders => Kind::Response,
            Self::Trailers(_) | Self::Grpc | Self::CalloutTrailers => Kind::Trailers,
        }
    }
}

/// The map as it can be read now.
fn visible(state: &State, map: Map) -> Option<&Headers> {
    let stream = state.stream(state.context());
    match map {
        Map::CalloutHeaders => state.callout_headers(),
        Map::CalloutTrailers => state.callout_response().map(|d| &d.trailers).filter(|t| !t.is_empty()),
        Map::Grpc => None,
        Map::Headers(direction) => {
            let half = stream?.half(direction);
            if stream?.logging {
                half.out.headers.as_ref().or(half.headers.as_ref())
            } else {
                half.headers.as_ref().filter(|_| half.show_headers)
            }
        }
        // Request trailers are not handed to the access log phase.
        Map::Trailers(direction) => {
            let half = stream?.half(direction);
            let show = if stream?.logging { direction == Direction::Response } else { half.show_trailers };
            half.trailers.as_ref().filter(|_| show)
        }
    }
}

/// The map as it can be changed now.
fn mutable(state: &mut State, map: Map) -> Option<&mut Headers> {
    let id = state.context();
    let stream = state.stream_mut(id)?;
    let end = stream.end_of_stream;
    match map {
        Map::Headers(direction) => {
            let half = stream.half_mut(direction);
            half.headers.as_mut().filter(|_| half.show_headers)
        }
        Map::Trailers(direction) => {
            let half = stream.half_mut(direction);
            if half.trailers.is_none() && half.show_data && end {
                half.trailers = Some(Headers::new());
                half.show_trailers = true;
            }
            half.trailers.as_mut().filter(|_| half.show_trailers)
        }
        _ => None,
    }
}

fn get_pairs(ctx: &mut Ctx<'_>, map: u32, ptr: u32, size: u32) -> Done {
    let capped = ctx.data().settings.capped_maps;
    let headers = visible(ctx.data(), Map::from_abi(map)?).filter(|h| !(capped && pairs::is_over(h)));
    let bytes = headers.map(pairs::encode).unwrap_or_default();
    give(ctx, &bytes, ptr, size)
}

fn set_pairs(ctx: &mut Ctx<'_>, map: u32, ptr: u32, size: u32) -> Done {
    let map = Map::from_abi(map)?;
    let new = pairs::decode(&read(ctx, ptr, size)?);
    let target = mutable(ctx.data_mut(), map).ok_or(Status::BadArgument)?;
    *target = new.canonical(map.kind());
    Ok(())
}

fn get_value(ctx: &mut Ctx<'_>, map: u32, key: u32, key_len: u32, ptr: u32, size: u32) -> Done {
    let map = Map::from_abi(map)?;
    let key = text(ctx, key, key_len)?;
    let logging = ctx.data().stream(ctx.data().context()).is_some_and(|s| s.logging);
    let missing = if logging { Status::NotFound } else { Status::BadArgument };
    let headers = visible(ctx.data(), map).ok_or(missing)?;
    let value = headers.lookup(map.kind(), &key).ok_or(Status::NotFound)?.to_vec();
    give(ctx, &value, ptr, size)
}

fn add_value(ctx: &mut Ctx<'_>, map: u32, key: u32, key_len: u32, value: u32, value_len: u32) -> Done {
    let map = Map::from_abi(map)?;
    let (key, value) = (text(ctx, key, key_len)?, read(ctx, value, value_len)?);
    mutable(ctx.data_mut(), map).ok_or(Status::BadArgument)?.add(map.kind(), &key, &value);
    Ok(())
}

fn replace_value(ctx: &mut Ctx<'_>, map: u32, key: u32, key_len: u32, value: u32, value_len: u32) -> Done {
    let map = Map::from_abi(map)?;
    let (key, value) = (text(ctx, key, key_len)?, read(ctx, value, value_len)?);
    mutable(ctx.data_mut(), map).ok_or(Status::BadArgument)?.replace(map.kind(), &key, &value);
    Ok(())
}

fn remove_value(ctx: &mut Ctx<'_>, map: u32, key: u32, key_len: u32) -> Done {
    let map = Map::from_abi(map)?;
    let key = text(ctx, key, key_len)?;
    mutable(ctx.data_mut(), map).ok_or(Status::BadArgument)?.remove(map.kind(), &key);
    Ok(())
}

fn get_size(ctx: &mut Ctx<'_>, map: u32, size: u32) -> Done {
    let map = Map::from_abi(map)?;
    let bytes = mutable(ctx.data_mut(), map).ok_or(Status::BadArgument)?.byte_size();
    write_u32(ctx, size, crate::vm::size(bytes))
}

fn text(ctx: &Ctx<'_>, ptr: u32, len: u32) -> Result<String, Halt> {
    Ok(String::from_utf8_lossy(&read(ctx, ptr, len)?).into_owned())
}
