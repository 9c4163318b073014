//! Pushes that end half-way: what each tag stands for then, and that another push is enough.

use super::support::{docker, hex, package, raw, refused, report, sha256};
use exeat_e2e::stage::registry::{Options, Registry, skopeo};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// What becomes of requests whose line begins so; all others are passed on.
#[derive(Clone, Copy)]
enum Fault {
    /// Refused with 500, and not passed on.
    Refuse(&'static str),
    /// Passed on, and the connection closed in place of the answer.
    Lose(&'static str),
    /// Passed on, and the header `location` taken from the answer.
    NoLocation(&'static str),
}

/// A way to a registry that fails where it is told to.
struct Way {
    address: SocketAddr,
    fault: Arc<Mutex<Option<Fault>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Way {
    fn to(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (fault, lines) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
        let (faults, seen) = (Arc::clone(&fault), Arc::clone(&lines));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection that breaks is what some tests are about.
                let _ = serve(&stream, registry, *faults.lock().unwrap(), &seen);
            }
        });
        Self { address, fault, lines }
    }

    fn set(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.lock().unwrap() = fault.into();
    }

    /// Lines of requests since it was asked last that begin so.
    fn take(&self, begin: &str) -> Vec<String> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        lines.into_iter().filter(|line| line.starts_with(begin)).collect()
    }

    /// A push of the real module, dated so that other dates are other manifests.
    fn push(&self, tag: &str, seconds: &str) -> Command {
        let mut command = package();
        command.arg("--push").arg(format!("{}/team/exeat:{tag}", self.address)).arg("--plain-http");
        command.env("SOURCE_DATE_EPOCH", seconds);
        command
    }
}

/// One request for a connection.
fn serve(
    stream: &TcpStream,
    registry: SocketAddr,
    fault: Option<Fault>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (line, mut head, mut length) = (line(&mut reader)?, String::new(), 0_u64);
    loop {
        let header = self::line(&mut reader)?;
        let lower = header.to_ascii_lowercase();
        assert!(!lower.starts_with("transfer-encoding"), "this way knows bodies of a stated length alone");
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if header.trim().is_empty() {
            break;
        }
        if !lower.starts_with("connection:") {
            head += &header;
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    seen.lock().unwrap().push(line.clone());
    let meets = |begin: &str| line.starts_with(begin);
    if let Some(Fault::Refuse(begin)) = fault
        && meets(begin)
    {
        return (&*stream)
            .write_all(b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    }
    let mut upstream = TcpStream::connect(registry)?;
    write!(upstream, "{line}{head}connection: close\r\n\r\n")?;
    upstream.write_all(&body)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    match fault {
        Some(Fault::Lose(begin)) if meets(begin) => Ok(()),
        Some(Fault::NoLocation(begin)) if meets(begin) => {
            let text = String::from_utf8(answer).unwrap();
            let (before, after) = text.split_once("Location: ").unwrap();
            write!(&*stream, "{before}{}", after.split_once("\r\n").unwrap().1)
        }
        _ => (&*stream).write_all(&answer),
    }
}

fn line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    match reader.read_line(&mut line)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

const FORMS: [(&str, &str); 4] = [
    ("image", ""),
    ("artifact", "-artifact"),
    ("sbom of the image", "-sbom"),
    ("sbom of the artifact", "-artifact-sbom"),
];

/// What the tags of `v1` stand for, in the order of [`FORMS`]; checks that each is whole.
fn tags(registry: &Registry) -> Vec<Option<String>> {
    let one = |suffix: &str| {
        let reference = format!("docker://{}/team/exeat:v1{suffix}", registry.address());
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &reference]).unwrap().ok()?;
        let manifest: Value = serde_json::from_slice(&raw).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
        for digest in layers.map(|layer| layer["digest"].as_str().unwrap()) {
            let hex = digest.strip_prefix("sha256:").unwrap();
            assert_eq!(sha256(&std::fs::read(registry.blob(hex)).unwrap()), hex);
        }
        Some(sha256(&raw))
    };
    FORMS.iter().map(|(_, suffix)| one(suffix)).collect()
}

fn expected(report: &Value) -> Vec<Option<String>> {
    FORMS.iter().map(|(form, _)| Some(hex(report, form).to_owned())).collect()
}

#[test]
fn no_tag_is_touched_before_everything_is_there() {
    let registry = Registry::start(&Options::default()).unwrap();
    let way = Way::to(registry.address());
    let old = expected(&report(way.push("v1", "1")));
    assert_eq!(tags(&registry), old);
    let ends = [
        "POST /v2/team/exeat/blobs/",
        "PUT /v2/team/exeat/manifests/sha256:",
        "PUT /v2/team/exeat/manifests/sha256-",
        "GET /v2/team/exeat/manifests/sha256:",
    ];
    for (round, end) in ends.into_iter().enumerate() {
        way.set(Fault::Refuse(end));
        let said = refused(way.push("v1", &format!("{}", round + 2)));
        assert!(said.contains("500") && !said.contains("tags"), "{end}: {said}");
        assert_eq!(tags(&registry), old, "{end}");
    }
    way.take("");
    way.set(None);
    let new = report(way.push("v1", "2"));
    assert_eq!(tags(&registry), expected(&new));
    // Manifests by digest come first, tags last, and of these the one that was asked for.
    let puts: Vec<String> = way.take("PUT /v2/team/exeat/manifests/");
    let names: Vec<&str> = puts
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap().rsplit('/').next().unwrap())
        .map(|name| if name.starts_with("sha256") { name.get(..7).unwrap() } else { name })
        .collect();
    assert_eq!(names[..4], ["sha256:"; 4]);
    assert_eq!(names[names.len() - 4..], ["v1-artifact-sbom", "v1-sbom", "v1-artifact", "v1"]);
    assert!(names[4..names.len() - 4].iter().all(|name| *name == "sha256-"), "{names:?}");
}

#[test]
fn tags_that_were_set_are_named_and_another_push_sets_the_rest() {
    let registry = Registry::start(&Options::default()).unwrap();
    let way = Way::to(registry.address());
    let old = report(way.push("v1", "1"));
    for (seconds, fault, said, is_new) in [
        (
            "2",
            Fault::Refuse("PUT /v2/team/exeat/manifests/v1-artifact-sbom "),
            "new: none; new or as before: v1-artifact-sbom; as before: v1, v1-artifact, v1-sbom",
            [false, false, false, false],
        ),
        (
            "3",
            Fault::Refuse("PUT /v2/team/exeat/manifests/v1 "),
            "new: v1-artifact, v1-sbom, v1-artifact-sbom; new or as before: v1; as before: none",
            [false, true, true, true],
        ),
        // The registry did it, and nobody was told.
        (
            "4",
            Fault::Lose("PUT /v2/team/exeat/manifests/v1-artifact "),
            "new: v1-sbom, v1-artifact-sbom; new or as before: v1-artifact; as before: v1.",
            [false, true, true, true],
        ),
    ] {
        let before = tags(&registry);
        way.set(fault);
        let complaint = refused(way.push("v1", seconds));
        assert!(complaint.contains(said) && complaint.contains("Push once more"), "{complaint}");
        assert!(complaint.contains("cannot set the tag"), "{complaint}");
        let after = tags(&registry);
        way.set(None);
        let again = report(way.push("v1", seconds));
        // All was there already; the tags alone were missing.
        assert_eq!(again["pushed"]["sent"], 0);
        let new = expected(&again);
        for (at, is_new) in is_new.into_iter().enumerate() {
            assert_eq!(after[at], if is_new { new[at].clone() } else { before[at].clone() }, "{said}: {at}");
        }
        assert_eq!(tags(&registry), new);
    }
    // What went before is still there by its digest.
    for (form, _) in FORMS {
        let reference = docker(&old, form).replace(&way.address.to_string(), &registry.address().to_string());
        assert_eq!(sha256(&raw(&reference)), hex(&old, form));
    }
}

/// Some registries do not say where a manifest is.
#[test]
fn a_registry_that_answers_without_a_location_is_enough() {
    let registry = Registry::start(&Options::default()).unwrap();
    let way = Way::to(registry.address());
    way.set(Fault::NoLocation("PUT /v2/team/exeat/manifests/"));
    let new = report(way.push("v1", "1"));
    assert_eq!(tags(&registry), expected(&new));
}
