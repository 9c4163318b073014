//! ClientHellos: built here field by field, cut and bent.

use crate::destination::client_hello::{HelloFault, MAX_HELLO, check_hello};
use proptest::prelude::*;

const NAME: &str = "api.example";

fn vector(length: usize, content: &[u8]) -> Vec<u8> {
    let bytes = content.len().to_be_bytes();
    [&bytes[bytes.len() - length..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, content)].concat()
}

fn names(names: &[(u8, &str)]) -> Vec<u8> {
    let list: Vec<u8> =
        names.iter().flat_map(|(kind, name)| [vec![*kind], vector(2, name.as_bytes())].concat()).collect();
    extension(0, &vector(2, &list))
}

/// The body of a ClientHello with these extensions.
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(vector(1, &[9; 32]));
    body.extend(vector(2, &[0x13, 0x01, 0x13, 0x02]));
    body.extend(vector(1, &[0]));
    body.extend(vector(2, &extensions.concat()));
    body
}

fn message(body: &[u8]) -> Vec<u8> {
    [vec![1], vector(3, body)].concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    [vec![22, 3, 1], vector(2, fragment)].concat()
}

/// One that clients send: versions, the name, a key share.
fn good() -> Vec<u8> {
    record(&message(&hello(&[extension(43, &[2, 3, 4]), names(&[(0, NAME)]), extension(51, &[0; 1200])])))
}

#[test]
fn a_hello_for_the_host_is_known_when_it_is_whole() {
    let good = good();
    for end in 0..good.len() {
        assert_eq!(check_hello(&good[..end], NAME), Ok(false), "{end}");
    }
    assert_eq!(check_hello(&good, NAME), Ok(true));
    // Early data, or whatever follows.
    assert_eq!(check_hello(&[&good[..], b"\x17\x03\x03\x00\x01x"].concat(), NAME), Ok(true));
    assert_eq!(check_hello(&good, "API.example".to_lowercase().as_str()), Ok(true));
    assert_eq!(check_hello(&record(&message(&hello(&[names(&[(0, "Api.Example")])]))), NAME), Ok(true));
    let spread: Vec<u8> = message(&hello(&[names(&[(0, NAME)])])).chunks(20).flat_map(record).collect();
    assert_eq!(check_hello(&spread, NAME), Ok(true));
}

#[test]
fn anything_else_is_refused_as_soon_as_it_shows() {
    use HelloFault::{Malformed, NoName, NotTls, OtherName, TooLong};
    let with = |extensions: &[Vec<u8>]| record(&message(&hello(extensions)));
    let bare = {
        let mut body = hello(&[]);
        body.truncate(body.len() - 2);
        record(&message(&body))
    };
    let many: Vec<u8> = message(&hello(&[names(&[(0, NAME)])])).chunks(2).flat_map(record).collect();
    let long = message(&hello(&[names(&[(0, NAME)]), extension(51, &vec![0; MAX_HELLO])]));
    for (what, bytes, fault) in [
        ("another protocol", b"SSH-2.0-x".to_vec(), NotTls),
        ("HTTP", b"G".to_vec(), NotTls),
        ("SSL 2", vec![0x80, 0x2e, 1, 3, 1], NotTls),
        ("a version that is not", vec![22, 3, 9, 0, 1], NotTls),
        ("an alert", record(&[1]).into_iter().enumerate().map(|(i, b)| if i == 0 { 21 } else { b }).collect(), NotTls),
        ("another message", record(&[2, 0, 0, 0]), NotTls),
        ("an empty record", vec![22, 3, 1, 0, 0], Malformed),
        ("a record that is too long", vec![22, 3, 1, 0x40, 1], Malformed),
        ("no extensions", bare, NoName),
        ("no name", with(&[extension(43, &[2, 3, 4])]), NoName),
        ("another name", with(&[names(&[(0, "evil.example")])]), OtherName),
        ("a longer name", with(&[names(&[(0, "api.example.evil.example")])]), OtherName),
        ("a trailing dot", with(&[names(&[(0, "api.example.")])]), OtherName),
        ("an address", with(&[names(&[(0, "192.0.2.1")])]), OtherName),
        ("two names", with(&[names(&[(0, NAME), (0, "evil.example")])]), Malformed),
        ("an empty name", with(&[names(&[(0, "")])]), Malformed),
        ("a name of another kind", with(&[names(&[(1, NAME)])]), Malformed),
        ("two extensions of names", with(&[names(&[(0, NAME)]), names(&[(0, "evil.example")])]), Malformed),
        ("an empty list", with(&[extension(0, &vector(2, &[]))]), Malformed),
        ("bytes after the list", with(&[extension(0, &[&names(&[(0, NAME)])[4..], b"x"].concat())]), Malformed),
        ("bytes after the extensions", record(&message(&[hello(&[names(&[(0, NAME)])]), vec![0]].concat())), Malformed),
        ("bytes after the message", record(&[message(&hello(&[names(&[(0, NAME)])])), vec![20]].concat()), Malformed),
        ("many records", many, TooLong),
        ("a long message", record(&long[..1 << 14]), TooLong),
    ] {
        assert_eq!(check_hello(&bytes, NAME), Err(fault), "{what}");
    }
    let cut = with(&[names(&[(0, NAME)])]);
    let mut shorter = cut.clone();
    shorter[8] -= 1;
    assert_eq!(check_hello(&shorter, NAME), Err(Malformed), "a message shorter than its record");
}

proptest! {
    #[test]
    fn nothing_panics_and_no_more_bytes_undo_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200), more in any::<u8>()) {
        let start = [&[22, 3, 1][..], &bytes].concat();
        for bytes in [&bytes, &start] {
            let answer = check_hello(bytes, NAME);
            if answer != Ok(false) {
                prop_assert_eq!(check_hello(&[&bytes[..], &[more]].concat(), NAME), answer);
            }
        }
    }

    #[test]
    fn a_bent_hello_is_never_taken_for_another_host(at in 0usize..1400, to in any::<u8>()) {
        let mut bytes = good();
        let at = at % bytes.len();
        bytes[at] = to;
        // Whatever is bent, a name that is accepted is the name that stands there.
        let stands = bytes.windows(NAME.len()).any(|window| window.eq_ignore_ascii_case(NAME.as_bytes()));
        prop_assert!(check_hello(&bytes, NAME) != Ok(true) || stands);
        prop_assert!(check_hello(&bytes, "evil.example") != Ok(true));
    }

    #[test]
    fn how_it_is_spread_over_records_changes_nothing(size in 260usize..2000) {
        let spread: Vec<u8> = good()[5..].chunks(size).flat_map(record).collect();
        prop_assert_eq!(check_hello(&spread, NAME), Ok(true));
    }
}
