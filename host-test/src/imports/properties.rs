//! Properties: what Envoy knows about a request, and the filter state that filters leave for each other.
//!
//! What the test gave for a path comes first. Then come the attributes that follow from the stream itself. A name that
//! is no attribute is filter state: `["x"]` is `wasm.x`, by its first part alone, so that a path of several parts can
//! be set but never read back.

use crate::error::Status;
use crate::headers::{Headers, Kind};
use crate::imports::memory::{give, read};
use crate::imports::{Ctx, Done, Imports, env};
use crate::pairs;
use crate::state::State;
use crate::stream::Stream;

pub(super) fn register(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports,
        "proxy_get_property" => get_property(path: u32, path_len: u32, ptr: u32, size: u32),
        "proxy_set_property" => set_property(path: u32, path_len: u32, value: u32, value_len: u32),
    );
    Ok(())
}

fn get_property(ctx: &mut Ctx<'_>, path: u32, path_len: u32, ptr: u32, size: u32) -> Done {
    let path = read(ctx, path, path_len)?;
    let value = find(ctx.data(), &path).ok_or(Status::NotFound)?;
    give(ctx, &value, ptr, size)
}

fn set_property(ctx: &mut Ctx<'_>, path: u32, path_len: u32, value: u32, value_len: u32) -> Done {
    let (path, value) = (read(ctx, path, path_len)?, read(ctx, value, value_len)?);
    let state = ctx.data_mut();
    let id = state.context();
    let stream = state.stream_mut(id).ok_or(Status::NotFound)?;
    stream.filter_state.insert(format!("wasm.{}", String::from_utf8_lossy(&path)), value);
    Ok(())
}

fn find(state: &State, path: &[u8]) -> Option<Vec<u8>> {
    let stream = state.stream(state.context());
    let given = stream.and_then(|s| s.properties.get(path));
    if let Some(value) = given.or_else(|| state.settings.properties.get(path)) {
        return Some(value.clone());
    }
    let text = String::from_utf8_lossy(path);
    let parts: Vec<&str> = text.split('\0').collect();
    match (parts.as_slice(), stream) {
        (["plugin_name"], _) => state.plugin().map(|p| p.name.clone().into_bytes()),
        (["plugin_root_id"], _) => state.plugin().map(|p| p.root_id.clone().into_bytes()),
        (["plugin_vm_id"], _) => Some(state.settings.vm_id.clone().into_bytes()),
        (["request", rest @ ..], Some(stream)) => request(stream, rest),
        (["response", rest @ ..], Some(stream)) => response(stream, rest),
        // A plain connection; a test that cares says otherwise.
        (["source", "address"], Some(_)) => Some(b"127.0.0.1:40000".to_vec()),
        (["destination", "address"], Some(_)) => Some(b"127.0.0.1:15001".to_vec()),
        // Set once a connection to the upstream stands.
        (["upstream", "local_address"], Some(stream)) => {
            stream.request.out.headers.as_ref().map(|_| b"127.0.0.1:41000".to_vec())
        }
        (["connection", "id"], Some(_)) => Some(number(1)),
        (["connection", "mtls"], Some(_)) => Some(vec![0]),
        (["filter_state", name], Some(stream)) => stream.filter_state.get(*name).cloned(),
        ([name], Some(stream)) => stream.filter_state.get(&format!("wasm.{name}")).cloned(),
        _ => None,
    }
}

fn number(value: usize) -> Vec<u8> {
    u64::try_from(value).unwrap_or(u64::MAX).to_le_bytes().to_vec()
}

/// Attributes of the request. Those that come from the head are gone where the head is gone: after `Continue`.
fn request(stream: &Stream, rest: &[&str]) -> Option<Vec<u8>> {
    let half = &stream.request;
    let headers = half.headers.as_ref().filter(|_| half.show_headers || stream.logging);
    let field = |name: &str| headers.and_then(|h| h.lookup(Kind::Request, name)).map(<[u8]>::to_vec);
    match rest {
        ["time"] => Some(stream.started.to_le_bytes().to_vec()),
        ["protocol"] => Some(b"HTTP/1.1".to_vec()),
        ["size"] => Some(number(half.out.chunks.iter().map(Vec::len).sum())),
        ["path"] => field(":path"),
        ["url_path"] => field(":path").map(|p| p.split(|b| *b == b'?').next().unwrap_or_default().to_vec()),
        ["query"] => {
            let path = headers?.lookup(Kind::Request, ":path").unwrap_or_default();
            Some(path.splitn(2, |b| *b == b'?').nth(1).unwrap_or_default().to_vec())
        }
        ["host"] => field(":authority"),
        ["method"] => field(":method"),
        ["scheme"] => field(":scheme"),
        ["id"] => field("x-request-id"),
        ["referer"] => field("referer"),
        ["useragent"] => field("user-agent"),
        ["headers", rest @ ..] => fields(headers, Kind::Request, rest),
        _ => None,
    }
}

fn response(stream: &Stream, rest: &[&str]) -> Option<Vec<u8>> {
    let half = &stream.response;
    let known = half.out.headers.as_ref().or(half.headers.as_ref());
    // A head that a local reply replaced while the filter had it in hand stays the one that attributes show.
    let headers = half.headers.as_ref().filter(|_| half.show_headers).or(known.filter(|_| stream.logging));
    match rest {
        ["code"] => known.map(|h| number(usize::from(crate::message::status(h)))),
        ["code_details"] => match &stream.local_reply {
            Some(reply) => Some(reply.details.clone().into_bytes()),
            None => known.map(|_| b"via_upstream".to_vec()),
        },
        ["size"] => Some(number(half.out.chunks.iter().map(Vec::len).sum())),
        ["headers", rest @ ..] => fields(headers, Kind::Response, rest),
        ["trailers", rest @ ..] => {
            let shown = half.trailers.as_ref().filter(|_| half.show_trailers || stream.logging);
            fields(shown, Kind::Trailers, rest)
        }
        _ => None,
    }
}

/// A map attribute: whole, or one field with its values joined as CEL sees them.
fn fields(headers: Option<&Headers>, kind: Kind, rest: &[&str]) -> Option<Vec<u8>> {
    match rest {
        [] => headers.map(pairs::encode),
        [name] => {
            let values: Vec<&[u8]> = headers?.get_all(name).collect();
            if values.is_empty() {
                return headers?.lookup(kind, name).map(<[u8]>::to_vec);
            }
            Some(values.join(b",".as_slice()))
        }
        _ => None,
    }
}
