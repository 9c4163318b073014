use super::*;
use crate::protocol::{SessionNumber, ToKeeper, ToProxy};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use tokio::io::AsyncWriteExt as _;

fn close(number: u64) -> ToProxy {
    ToProxy::Close { session: SessionNumber(number) }
}

fn pair() -> (Arc<UnixStream>, Arc<UnixStream>) {
    let (one, other) = UnixStream::pair().unwrap();
    (Arc::new(one), Arc::new(other))
}

#[tokio::test]
async fn messages_arrive_whole_and_in_order_whatever_the_pieces() {
    let (near, far) = pair();
    let mut reader = FrameReader::new(far);
    let long = ToKeeper::OpenFailed { session: SessionNumber(7), why: "x".repeat(100_000) };
    let mut bytes = encode(&long).unwrap();
    for number in 0..300 {
        bytes.extend(encode(&ToKeeper::Measured { id: number, samples: Vec::new() }).unwrap());
    }
    let writing = tokio::spawn(async move {
        let mut stream = Arc::into_inner(near).unwrap();
        for piece in bytes.chunks(997) {
            stream.write_all(piece).await.unwrap();
        }
    });
    assert_eq!(reader.next::<ToKeeper>().await.unwrap(), Some(long));
    for number in 0..300 {
        let expected = ToKeeper::Measured { id: number, samples: Vec::new() };
        assert_eq!(reader.next::<ToKeeper>().await.unwrap(), Some(expected));
    }
    writing.await.unwrap();
    assert!(reader.next::<ToKeeper>().await.unwrap().is_none());
}

#[tokio::test]
async fn a_listener_arrives_with_its_message_and_serves() {
    let (near, far) = pair();
    let (mut writer, mut reader) = (FrameWriter::new(near), FrameReader::with_descriptors(far));
    let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    for (number, listener) in (0..).zip(&listeners) {
        writer.send(&close(100), None).await.unwrap();
        writer.send(&close(number), Some(listener.as_fd())).await.unwrap();
    }
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    drop(listeners);
    for (number, address) in (0..).zip(addresses) {
        assert_eq!(reader.next::<ToProxy>().await.unwrap(), Some(close(100)));
        assert_eq!(reader.next::<ToProxy>().await.unwrap(), Some(close(number)));
        let listener = TcpListener::from(reader.take_descriptor().unwrap());
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
    }
    assert!(matches!(reader.take_descriptor(), Err(FrameError::Descriptors)));
}

#[tokio::test]
async fn whoever_expects_no_descriptor_gets_none() {
    let (near, far) = pair();
    let (mut writer, mut reader) = (FrameWriter::new(near), FrameReader::new(far));
    let (kept, given) = std::os::unix::net::UnixStream::pair().unwrap();
    writer.send(&close(1), Some(given.as_fd())).await.unwrap();
    drop(given);
    assert_eq!(reader.next::<ToProxy>().await.unwrap(), Some(close(1)));
    assert!(reader.take_descriptor().is_err());
    // The other end is closed: the kernel has dropped what was sent.
    assert_eq!((&kept).read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn a_frame_that_is_none_ends_the_conversation() {
    let long = u32::try_from(MAX_MESSAGE + 1).unwrap().to_be_bytes();
    for (bytes, expected) in [
        (long.to_vec(), "131073 bytes"),
        (u32::MAX.to_be_bytes().to_vec(), "4294967295 bytes"),
        (b"\0\0\0\x02[]".to_vec(), "cannot be read"),
        (b"\0\0\0\0".to_vec(), "cannot be read"),
        (b"\0\0\0\x04null".to_vec(), "cannot be read"),
        (b"\0\0\0\x12{\"kind\":\"nothing\"}".to_vec(), "cannot be read"),
        (b"\0\0\0\x05{\"k".to_vec(), "in the middle"),
        (b"\0".to_vec(), "in the middle"),
    ] {
        let (near, far) = pair();
        let mut reader = FrameReader::new(far);
        let mut stream = Arc::into_inner(near).unwrap();
        stream.write_all(&bytes).await.unwrap();
        drop(stream);
        let error = reader.next::<ToKeeper>().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{bytes:?}: {error}");
    }
}

#[test]
fn what_is_too_long_is_not_written() {
    let message = ToKeeper::OpenFailed { session: SessionNumber(1), why: "x".repeat(MAX_MESSAGE) };
    assert!(matches!(encode(&message), Err(FrameError::TooLong(_))));
}

proptest::proptest! {
    #[test]
    fn nothing_that_arrives_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..256)) {
        let _ = decode::<ToKeeper>(&bytes);
        let mut framed = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        framed.extend(&bytes);
        let _ = decode::<ToKeeper>(&framed);
    }
}
