//! HTTP/1.1 as both ends of the measurement read it: whole messages with a length.

use anyhow::{Context as _, Result, ensure};

/// The length that a head announces; none is none.
pub(crate) fn body_length(fields: &[httparse::Header<'_>]) -> Result<usize> {
    let value = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
    ensure!(value("transfer-encoding").is_none(), "a message without a length");
    let Some(length) = value("content-length") else { return Ok(0) };
    Ok(std::str::from_utf8(length)?.trim().parse()?)
}

/// A response once all of it is there: status, body, and how long the whole is.
pub(crate) fn response(buffer: &[u8]) -> Result<Option<(u16, &[u8], usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(buffer).context("the answer is no HTTP/1.1")? else {
        return Ok(None);
    };
    let end = head.saturating_add(body_length(response.headers)?);
    let status = response.code.context("an answer without a status")?;
    Ok(buffer.get(head..end).map(|body| (status, body, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_not_there() {
        let whole = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nnoHTTP";
        assert_eq!(response(whole).unwrap(), Some((403, &b"no"[..], whole.len() - 4)));
        for cut in [0, 10, 44, whole.len() - 5] {
            assert_eq!(response(&whole[..cut]).unwrap(), None, "{cut}");
        }
        assert!(response(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(response(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(response(b"SSH-2.0\r\n\r\n").is_err());
    }
}
