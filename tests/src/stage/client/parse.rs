//! Reads HTTP/1.1 answers: head by httparse, body by the framing that RFC 9112, section 6.3 prescribes.

use super::Response;

/// Status and fields of an answer.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

/// Takes a head from the front of `buffer`, or `None` while it is incomplete.
pub(super) fn head(buffer: &mut Vec<u8>) -> Result<Option<Head>, String> {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Response::new(&mut fields);
    let status = parsed.parse(buffer).map_err(|error| format!("no HTTP/1.1 answer ({error})"))?;
    let httparse::Status::Complete(length) = status else { return Ok(None) };
    let head = Head { status: parsed.code.unwrap_or_default(), headers: owned(parsed.headers) };
    buffer.drain(..length);
    Ok(Some(head))
}

fn owned(fields: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect()
}

/// How the end of a body is found, and how far that has come.
pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// Until the peer closes.
    Close,
    /// At the size line of a chunk.
    ChunkSize,
    /// Inside a chunk: so many bytes still, with the line end after them.
    Chunk(u64),
    /// After the last chunk.
    Trailers,
}

impl Framing {
    pub(super) fn of(head: &Head, method: &[u8]) -> Result<Self, String> {
        let tunnel = method == b"CONNECT" && (200..300).contains(&head.status);
        if method == b"HEAD" || tunnel || matches!(head.status, 101 | 204 | 304) {
            return Ok(Self::Length(0));
        }
        let value = |name: &str| head.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
            return Ok(Self::ChunkSize);
        }
        let Some(length) = value("content-length") else { return Ok(Self::Close) };
        let text = String::from_utf8_lossy(length);
        text.trim().parse().map(Self::Length).map_err(|_| format!("content-length is {text:?}"))
    }

    pub(super) fn ends_by_closing(&self) -> bool {
        matches!(self, Self::Close)
    }

    /// Moves what belongs to the body from `buffer` to `response`. `true` when that was the end.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>, response: &mut Response) -> Result<bool, String> {
        loop {
            match self {
                Self::Close => {
                    response.body.append(buffer);
                    return Ok(false);
                }
                Self::Length(left) => {
                    *left -= move_bytes(buffer, *left, &mut response.body);
                    return Ok(*left == 0);
                }
                Self::ChunkSize => {
                    let size = httparse::parse_chunk_size(buffer).map_err(|_| "a chunk without a size".to_owned())?;
                    let httparse::Status::Complete((line, size)) = size else { return Ok(false) };
                    buffer.drain(..line);
                    *self = if size == 0 { Self::Trailers } else { Self::Chunk(size) };
                }
                Self::Chunk(left) if *left > 0 => {
                    *left -= move_bytes(buffer, *left, &mut response.body);
                    if *left > 0 {
                        return Ok(false);
                    }
                }
                Self::Chunk(_) => {
                    let Some(line_end) = buffer.get(..2) else { return Ok(false) };
                    if line_end != b"\r\n" {
                        return Err("a chunk is longer than its size".to_owned());
                    }
                    buffer.drain(..2);
                    *self = Self::ChunkSize;
                }
                Self::Trailers => {
                    let mut fields = [httparse::EMPTY_HEADER; 64];
                    let parsed = httparse::parse_headers(buffer, &mut fields);
                    let parsed = parsed.map_err(|error| format!("malformed trailers ({error})"))?;
                    let httparse::Status::Complete((length, trailers)) = parsed else { return Ok(false) };
                    response.trailers = owned(trailers);
                    buffer.drain(..length);
                    return Ok(true);
                }
            }
        }
    }
}

/// Moves up to `limit` bytes and says how many.
fn move_bytes(from: &mut Vec<u8>, limit: u64, to: &mut Vec<u8>) -> u64 {
    let count = from.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
    to.extend(from.drain(..count));
    count as u64
}
