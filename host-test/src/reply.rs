//! Local replies: what Envoy makes of `proxy_send_local_response` and of its own refusals.

use crate::headers::{Headers, Kind};
use crate::message::{Event, LocalReply, ReplyOrigin};
use crate::stream::Direction;
use crate::vm::Vm;

/// A reply of the gateway itself.
pub(crate) fn gateway(status: u16, body: &str, details: &str) -> LocalReply {
    LocalReply {
        status,
        headers: Headers::new(),
        body: body.as_bytes().to_vec(),
        details: details.to_owned(),
        origin: ReplyOrigin::Gateway,
    }
}

impl Vm {
    /// Sends a local reply the way `DownstreamFilterManager::sendLocalReply` does: through the filter while no response
    /// was seen, past it once the filter has a response head, and as a reset once the client has one.
    pub(crate) fn reply(&mut self, id: u32, reply: LocalReply, grpc: Option<u32>) {
        let Some(stream) = self.open(id, Direction::Response) else { return };
        stream.aborted = true;
        if stream.response.out.headers.is_some() {
            return self.reset_stream(id);
        }
        stream.events.push(Event::LocalReply(reply.status));
        let (headers, body) = wire_form(&reply, grpc, stream.is_grpc(), stream.is_head_request());
        stream.local_reply = Some(reply);
        if stream.response.headers.is_none() {
            let end = body.is_empty();
            self.on_headers(id, Direction::Response, headers, end);
            if !end {
                self.on_data(id, Direction::Response, body, true);
            }
            return;
        }
        stream.events.push(Event::ResponseStarted(crate::message::status(&headers)));
        let out = &mut stream.response.out;
        out.headers = Some(headers);
        if !body.is_empty() {
            out.chunks.push(body);
        }
        out.complete = true;
    }
}

/// `Utility::prepareLocalReply`: head and body as they go to the client.
fn wire_form(reply: &LocalReply, grpc: Option<u32>, is_grpc: bool, is_head: bool) -> (Headers, Vec<u8>) {
    let mut headers = Headers::from([(":status", reply.status.to_string())]);
    for (name, value) in reply.headers.iter() {
        headers.add(Kind::Response, name, value);
    }
    if is_grpc {
        // A trailers-only response: the status travels in a header, the body as the message.
        headers.replace(Kind::Response, ":status", b"200");
        headers.replace(Kind::Response, "content-type", b"application/grpc");
        headers.remove(Kind::Response, "content-length");
        let code = grpc.unwrap_or_else(|| grpc_status(reply.status));
        headers.replace(Kind::Response, "grpc-status", code.to_string().as_bytes());
        if !reply.body.is_empty() && !headers.contains("grpc-message") {
            headers.add(Kind::Response, "grpc-message", percent_encoded(&reply.body).as_bytes());
        }
        return (headers, Vec::new());
    }
    if reply.body.is_empty() {
        headers.remove(Kind::Response, "content-length");
        headers.remove(Kind::Response, "content-type");
        return (headers, Vec::new());
    }
    headers.replace(Kind::Response, "content-length", reply.body.len().to_string().as_bytes());
    if !headers.contains("content-type") {
        headers.add(Kind::Response, "content-type", b"text/plain");
    }
    (headers, if is_head { Vec::new() } else { reply.body.clone() })
}

/// The gRPC project's mapping of HTTP statuses (doc/http-grpc-status-mapping.md), as Envoy applies it.
fn grpc_status(http: u16) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

fn percent_encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'%' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
