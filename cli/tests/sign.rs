//! `exeat key` and `exeat sign`: what they print is what a gateway accepts.

#![cfg(test)]

use exeat_cli::key::{KeySource, PrivateKey};
use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_engine::context::keyring::SignerKey;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{Expectations, Freshness, KeyRing, PublicKey, VerifiedContext, verify};
use exeat_engine::facts::Timestamp;
use exeat_engine::payload::BodyDigest;
use exeat_engine::request::RequestHead;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

fn exeat(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_exeat")).args(args).env("TEST_SIGNER", TEST_SEED).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A test key: base64 of 32 bytes of 1.
const TEST_SEED: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const IDENTITY: [&str; 8] =
    ["--key", "env:TEST_SIGNER", "--keyid", "signer-1", "--agent", "support/summarizer", "--session", "s-1"];

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn check(pairs: Vec<(String, Vec<u8>)>, body: &[u8]) -> Result<VerifiedContext, String> {
    let mut keys = KeyRing::default();
    let public = PrivateKey::parse(TEST_SEED).unwrap().public().clone();
    keys.insert("signer-1", SignerKey { signer: 0, public, not_before: None, not_after: None });
    let head = RequestHead::from_pairs(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
        .map_err(|error| error.to_string())?;
    let expect = Expectations {
        keys: &keys,
        gateway: "egress-eu-1",
        freshness: Freshness::default(),
        now: Timestamp::from_seconds(now()),
        started: Timestamp(0),
    };
    let verified = verify(&head, &expect).map_err(|error| error.to_string())?;
    if !body.is_empty() {
        let digests = verified.require_body_coverage().map_err(|error| error.to_string())?;
        BodyDigest::of(body, Some(&digests)).check(&digests).map_err(|error| error.to_string())?;
    }
    Ok(verified)
}

fn pairs(method: &str, authority: &str, path: &str, lines: &str) -> Vec<(String, Vec<u8>)> {
    let mut pairs: Vec<(String, Vec<u8>)> =
        [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)]
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .into();
    for line in lines.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        pairs.push((name.to_lowercase(), value.as_bytes().to_vec()));
    }
    pairs
}

#[test]
fn a_new_key_is_private_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let (file, public) = (folder.path().join("signer.key"), folder.path().join("signer.pub"));
    let (file, public) = (file.to_str().unwrap(), public.to_str().unwrap());
    let printed = stdout(&exeat(&["key", "new", "--out", file, "--public", public]));
    assert_eq!(printed, std::fs::read_to_string(public).unwrap());
    assert_eq!(printed, stdout(&exeat(&["key", "public", file])));
    let jwk = stdout(&exeat(&["key", "public", file, "--jwk"]));
    assert_eq!(PublicKey::parse(&jwk), PublicKey::parse(&printed));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = std::fs::read(file).unwrap();
    let again = exeat(&["key", "new", "--out", file]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists and is not overwritten"));
    assert_eq!(std::fs::read(file).unwrap(), before);
    let seed = stdout(&exeat(&["key", "new"]));
    assert!(PrivateKey::parse(&seed).is_ok());
    assert_eq!(
        stdout(&exeat(&["key", "public", "--env", "TEST_SIGNER"])).trim(),
        "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
    );
}

#[test]
fn a_private_key_never_shows_itself() {
    let key = PrivateKey::parse(TEST_SEED).unwrap();
    assert!(!format!("{key:?}").contains(TEST_SEED));
    for (text, problem) in [
        ("", "it has 0 bytes, where a seed has 32"),
        ("AQEB", "it has 3 bytes"),
        ("not base64!", "it is not base64"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "it is all zeros"),
    ] {
        assert!(PrivateKey::parse(text).unwrap_err().to_string().contains(problem), "{text}");
    }
    let missing = "no/such/file".parse::<KeySource>().unwrap().load().unwrap_err().to_string();
    assert_eq!(missing, "cannot read the private key no/such/file (`exeat key new --out FILE` makes one)");
}

#[test]
fn the_headers_printed_are_accepted() {
    let url = "http://api.crm.acme.example/v1/orders?id=7";
    let lines = stdout(&exeat(&[&["sign"], &IDENTITY[..], &[url]].concat()));
    let verified = check(pairs("GET", "api.crm.acme.example", "/v1/orders?id=7", &lines), b"").unwrap();
    assert_eq!(verified.context.agent, "support/summarizer");
    assert!(check(pairs("GET", "api.crm.acme.example", "/v1/orders?id=8", &lines), b"").is_err());

    let body = "{\"customer_id\": \"u-1042\"}";
    let context = [
        "--gateway",
        "egress-eu-1",
        "--tenant",
        "acme",
        "--user",
        "u-1042",
        "--region",
        "eu",
        "--role",
        "support",
        "--role",
        "sales",
        "--delegated-by",
        "support/planner",
        "--scope",
        "crm",
        "--tool",
        "crm.lookup",
        "--session-type",
        "interactive",
        "--data-class",
        "confidential",
        "--provenance",
        "user",
        "--provenance",
        "third-party",
        "--reason",
        "look up \"order\" \\ 7",
        "--attribute",
        "ticket=CHG-81",
        "--attribute",
        "n:=(1 2.0)",
        "--content-type",
        "application/json",
        "--header",
        "Accept: */*",
        "--cover",
        "accept",
        "--expires-in",
        "20",
        "--nonce",
        "n-1",
        "--body",
        body,
    ];
    let lines = stdout(&exeat(&[&["sign"], &IDENTITY[..], &context, &[url]].concat()));
    let good = pairs("POST", "api.crm.acme.example", "/v1/orders?id=7", &lines);
    let verified = check(good.clone(), body.as_bytes()).unwrap();
    let stated = verified.context;
    assert_eq!(stated.roles, ["support", "sales"]);
    assert_eq!(stated.reason.as_deref(), Some("look up \"order\" \\ 7"));
    assert_eq!(stated.attributes["ticket"], "\"CHG-81\"");
    assert_eq!(stated.attributes["n"], "(1 2.0)");
    assert_eq!(verified.nonce_until, Timestamp::from_seconds(verified.created as u64 + 25));
    assert!(check(good.clone(), b"{}").is_err());
    let mut changed = good;
    changed.iter_mut().find(|(name, _)| name == "accept").unwrap().1 = b"text/html".to_vec();
    assert!(check(changed, body.as_bytes()).is_err(), "accept is covered");
}

#[test]
fn time_can_be_set() {
    let url = "http://a.example/";
    let lines = |created: &str| {
        let lines = stdout(&exeat(&[&["sign"], &IDENTITY[..], &["--created", created, url]].concat()));
        check(pairs("GET", "a.example", "/", &lines), b"").map(|_| ())
    };
    assert_eq!(lines("+0"), Ok(()));
    assert_eq!(lines("-30"), Ok(()));
    assert!(lines("-90").unwrap_err().contains("more than 60 s before now"));
    assert!(lines("+30").unwrap_err().contains("more than 5 s after now"));
    assert!(lines("1763600000").unwrap_err().contains("created 1763600000 is more than"));
}

#[test]
fn what_cannot_be_signed_is_named() {
    for (args, problem) in [
        (&["ftp://a.example/"][..], "does not start with http:// or https://"),
        (&["http://a.example/#x"], "it has a fragment"),
        (&["http://user@a.example/"], "leave out user and password"),
        (&["http://a.example/a b"], "it contains ' '; percent-encode it"),
        (&["http:///x"], "its authority is no plain host and port"),
        (&["http://a.example/", "--tenant", ""], "agent-context: \"tenant\": is empty"),
        (&["http://a.example/", "--user", "Ren\u{e9}"], "user: \"Ren\\u{e9}\" is not printable ASCII"),
        (&["http://a.example/", "--scope", "a b"], "scope: \"a b\" is not a token"),
        (&["http://a.example/", "--attribute", "n:=1, tenant=\"x\""], "is not one structured-field item"),
        (&["http://a.example/", "--attribute", "agent=x"], "\"agent\": occurs twice"),
        (&["http://a.example/", "--attribute", "n"], "has no equals sign"),
        (&["http://a.example/", "--cover", "x-none"], "component \"x-none\": the request has no such field"),
        (&["http://a.example/", "--cover", "A"], "is no field name in lower case"),
        (&["http://a.example/", "--header", "signature: x"], "has a field signature already"),
        (&["http://a.example/", "--header", "x"], "has no colon"),
        (&["http://a.example/", "--created", "now"], "neither seconds since 1970"),
        (&["http://a.example/", "--body-file", "no/such/file"], "cannot read the body no/such/file"),
        (&["http://a.example/x", "--method", "CONNECT"], "a CONNECT has no path"),
        (&["http://a.example/", "--provenance", "web"], "user, system, internal, third-party, unknown"),
    ] {
        let output = exeat(&[&["sign"], &IDENTITY[..], args].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(problem), "{args:?}: {error}");
    }
}

#[test]
fn json_holds_all_of_it() {
    let args = ["--format", "json", "--via", "http://127.0.0.1:10000/", "https://a.example/x?y"];
    let object: serde_json::Value =
        serde_json::from_str(&stdout(&exeat(&[&["sign"], &IDENTITY[..], &args].concat()))).unwrap();
    assert_eq!(object["url"], "http://127.0.0.1:10000/x?y");
    assert_eq!(object["authority"], "a.example");
    assert!(object["signature_base"].as_str().unwrap().starts_with("\"@method\": GET\n\"@authority\": a.example\n"));
    let mut received = pairs("GET", "a.example", "/x?y", "");
    for pair in object["headers"].as_array().unwrap() {
        received.push((pair[0].as_str().unwrap().to_lowercase(), pair[1].as_str().unwrap().as_bytes().to_vec()));
    }
    check(received, b"").unwrap();
}

#[test]
fn the_port_of_a_tunnel_is_signed() {
    let request = UnsignedRequest::new("CONNECT", "https://a.example").unwrap();
    assert_eq!((request.authority.as_str(), request.path), ("a.example:443", None));
    let request = UnsignedRequest::new("CONNECT", "https://[::1]").unwrap();
    assert_eq!(request.authority, "[::1]:443");
    let output = exeat(&[&["sign"], &IDENTITY[..], &["--method", "CONNECT", "https://a.example:8443"]].concat());
    let mut received = pairs("CONNECT", "a.example:8443", "/", &stdout(&output));
    received.retain(|(name, _)| name != ":path" && name != ":scheme");
    check(received, b"").unwrap();
}

/// Whatever curl does with its configuration, the request that arrives is the one that was signed.
#[test]
fn curl_sends_what_was_signed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a \"body\" \\ with quotes");
    std::fs::write(&file, b"\x00\xff\r\n@").unwrap();
    let file = file.to_str().unwrap();
    for (url, args, body) in [
        ("http://api.crm.acme.example/v1/a/../b/[1-3]/{x}?q=%20&r=\\\"", &[][..], &b""[..]),
        ("http://api.crm.acme.example", &["--method", "DELETE", "--header", "X-Empty:"], b""),
        ("https://a.example:8443/", &["--body", "@/etc/hostname\n\t\"\\n\""], b"@/etc/hostname\n\t\"\\n\""),
        ("http://a.example/?", &["--body-file", file, "--content-type", "a/b; c=\"d\""], b"\x00\xff\r\n@"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let via = format!("http://{}", listener.local_addr().unwrap());
        let sign = [&["sign"], &IDENTITY[..], &["--format", "curl", "--via", &via], args, &[url]].concat();
        let config = stdout(&exeat(&sign));
        let mut curl = Command::new("curl")
            .args(["--disable", "--noproxy", "*", "--max-time", "10", "--config", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("curl, which this test runs");
        curl.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut start = String::new();
        reader.read_line(&mut start).unwrap();
        let mut words = start.split(' ');
        let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let mut lines = String::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            lines.push_str(&line);
        }
        let host = lines.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap().to_owned();
        let lines: String = lines.lines().filter(|line| line.contains(": ")).map(|line| format!("{line}\n")).collect();
        let mut received = vec![0; body.len()];
        reader.read_exact(&mut received).unwrap();
        (&stream).write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert!(curl.wait().unwrap().success());
        assert_eq!(received, body);
        check(pairs(&method, &host, &path, &lines), &received)
            .unwrap_or_else(|error| panic!("{url}: {error}\n{lines}"));
    }
}

/// The knobs that tests of the gateway turn.
#[test]
fn wrong_signatures_can_be_made() {
    let key = PrivateKey::parse(TEST_SEED).unwrap();
    let other = PrivateKey::generate().unwrap();
    let context = ContextFields { agent: "a".to_owned(), session: "s".to_owned(), ..ContextFields::default() };
    let verdict = |key: &PrivateKey, change: &dyn Fn(&mut UnsignedRequest, &mut SignOptions)| {
        let mut options = SignOptions::new("signer-1", now() as i64);
        let mut request = UnsignedRequest::new("GET", "http://a.example/x").unwrap();
        change(&mut request, &mut options);
        let signed = sign_request(&request, &context, key, &options).unwrap();
        let mut received = pairs("GET", "a.example", "/x", "");
        received.extend(signed.fields.into_iter().map(|(name, value)| (name, value.into_bytes())));
        check(received, b"").map(|_| "permitted".to_owned()).unwrap_or_else(|error| error)
    };
    assert_eq!(verdict(&key, &|_, _| ()), "permitted");
    assert!(verdict(&other, &|_, _| ()).contains("does not verify"));
    assert!(verdict(&key, &|request, _| request.authority = "b.example".to_owned()).contains("does not verify"));
    assert!(verdict(&key, &|_, options| options.keyid = None).contains("lacks keyid"));
    assert!(verdict(&key, &|_, options| options.components = Some(Vec::new())).contains("lacks \"@method\""));
    assert!(verdict(&key, &|_, options| options.tag = None).contains("no signature with tag"));
    assert!(verdict(&key, &|_, options| options.agent_context = Some("agent=1".to_owned())).contains("is an integer"));
}
