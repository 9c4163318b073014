//! The key: how it comes in, how it changes, and that nobody gets at it.

use crate::stage::{AGENT, OTHER, Signer, eventually, exeat, folder, is_root, own, seed_text, write_key};
use exeat_cli::key::PrivateKey;
use rustix::process::Signal;
use serde_json::json;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Whether bytes are in the memory of a process. Reading it takes root.
fn memory_holds(pid: u32, wanted: &[u8]) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    maps.lines().filter(|line| line.contains(" r") || line.contains(" rw")).any(|line| {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let parse = |text| u64::from_str_radix(text, 16).unwrap();
        let length = usize::try_from(parse(end) - parse(start)).unwrap();
        if length > 256 << 20 || memory.seek(SeekFrom::Start(parse(start))).is_err() {
            return false;
        }
        // Reserved pages that nobody has touched cannot be read; what can be stands before them.
        let mut bytes = Vec::new();
        let _ = (&mut memory).take(length as u64).read_to_end(&mut bytes);
        bytes.windows(wanted.len()).any(|window| window == wanted)
    })
}

/// All bytes of all files below a folder.
fn files_hold(folder: &std::path::Path, wanted: &[u8]) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = match std::fs::symlink_metadata(&path).unwrap().file_type() {
            kind if kind.is_dir() => files_hold(&path, wanted),
            kind if kind.is_file() => {
                let bytes = std::fs::read(&path).unwrap();
                bytes.windows(wanted.len()).any(|window| window == wanted).then_some(path)
            }
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn secrets(key: &PrivateKey) -> [Vec<u8>; 3] {
    let seed = key.seed();
    [seed.to_vec(), seed_text(key).into_bytes(), key.to_jwk("x").split('"').nth(11).unwrap().as_bytes().to_vec()]
}

#[test]
fn keys_come_from_files_environment_and_standard_input() {
    let from_environment = Signer::start_as(None, &["--key", "env:SIGN_KEY", "--keyid", "signer-1"], |command, key| {
        command.env("SIGN_KEY", seed_text(key));
    });
    let from_input = Signer::start_as(None, &["--key=-", "--keyid", "signer-1"], |command, key| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, seed_text(key).as_bytes()).unwrap();
        command.stdin(reader);
    });
    for signer in [from_environment, from_input] {
        let session = signer.open_plain();
        assert!(Signer::fetch(&session, &["https://api.acme.example/"]).0.success());
        assert_eq!(signer.gateway.arrivals()[0].keyid, "signer-1");
        // Nothing to read again: said, and the key stays.
        let answer = signer.ask("POST", "/v1/keys/rotate", None);
        assert!(answer.status == 409 && answer.body.contains("did not come from a file"), "{answer:?}");
        if is_root() {
            for pid in [signer.pid(), signer.proxy_pid()] {
                let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap();
                let text = String::from_utf8_lossy(&[read("environ"), read("cmdline")].concat()).into_owned();
                assert!(!text.contains("SIGN_KEY") && !text.contains(&seed_text(&signer.key)), "{text}");
            }
        }
    }
}

#[test]
fn a_new_key_says_its_id() {
    let folder = folder();
    let file = folder.path().join("signer.key");
    let made = exeat().args(["key", "new", "--keyid", "signer \"1\"", "--out"]).arg(&file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = PrivateKey::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(key.keyid(), Some("signer \"1\""));
    let public = exeat().args(["key", "public"]).arg(&file).output().unwrap();
    assert_eq!(
        (public.stdout.clone(), made.stdout),
        (format!("{}\n", key.public().to_base64()).into_bytes(), public.stdout)
    );
    assert_eq!(PrivateKey::parse(&seed_text(&key)).unwrap().public(), key.public());
}

#[test]
fn mistakes_with_keys_are_one_clear_error() {
    let folder = folder();
    let key = PrivateKey::generate().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let jwk = key.to_jwk("signer-1");
    let other = PrivateKey::generate().unwrap().to_jwk("x");
    let mixed = jwk.replace(jwk.split('"').nth(15).unwrap(), other.split('"').nth(15).unwrap());
    for (key, keyid, advice) in [
        (file("open", &jwk, 0o640), None, "chmod 600"),
        (file("world", &jwk, 0o604), None, "chmod 600"),
        (file("bare", &seed_text(&key), 0o600), None, "give --keyid"),
        (file("jwk", &jwk, 0o600), Some("signer-2"), "its id is \"signer-1\""),
        (file("mixed", &mixed, 0o600), None, "do not belong together"),
        (file("rsa", &jwk.replace("OKP", "RSA"), 0o600), None, "another kind"),
        (file("text", "{\"kty\": \"OKP\", \"d\": \"c2VjcmV0\"}", 0o600), None, "no private JWK"),
        (file("empty", "", 0o600), Some("x"), "0 bytes"),
        (file("zero", &"A".repeat(43), 0o600), Some("x"), "all zeros"),
        (file("newline", &seed_text(&key), 0o600), Some("a\nb"), "cannot be a key id"),
        (folder.path().join("none").display().to_string(), None, "cannot read the private key"),
        ("env:NO_SUCH_VARIABLE".to_owned(), Some("x"), "export it first"),
    ] {
        let mut command = exeat();
        command.args(["signer", "--gateway", "http://127.0.0.1:9", "--key", &key]);
        command.args(keyid.map(|keyid| format!("--keyid={keyid}"))).arg("--runtime-dir").arg(folder.path().join("run"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(advice), "{key}: {error}");
        assert!(!error.contains("c2VjcmV0"), "{error}");
    }
}

#[test]
fn a_key_is_changed_without_a_lost_request() {
    let signer = Signer::start(&[]);
    let session = signer.open_plain();
    let file = signer.folder.path().join("signer.key");
    let fetching = {
        let session = session.clone();
        std::thread::spawn(move || {
            (0..40).filter(|_| !Signer::fetch(&session, &["https://api.acme.example/"]).0.success()).count()
        })
    };
    for (number, by_signal) in [(2, true), (3, false), (4, true)] {
        let (keyid, key) = (format!("signer-{number}"), PrivateKey::generate().unwrap());
        signer.gateway.trust(&keyid, &key);
        write_key(&file, &keyid, &key);
        if by_signal {
            signer.signal(Signal::HUP);
            eventually("the change of the key", || {
                signer.log().contains(&format!("\"keyid\":\"{keyid}\"")).then_some(())
            });
        } else {
            assert_eq!(signer.ask("POST", "/v1/keys/rotate", None).json(), json!({"keyid": keyid, "changed": true}));
        }
        assert!(Signer::fetch(&session, &["https://api.acme.example/"]).0.success());
        assert!(signer.gateway.arrivals().iter().any(|arrival| arrival.keyid == keyid));
    }
    assert_eq!(fetching.join().unwrap(), 0, "a request failed while keys changed");
    // Another key under the same name would make every signature worthless; the old one stays.
    write_key(&file, "signer-4", &PrivateKey::generate().unwrap());
    let answer = signer.ask("POST", "/v1/keys/rotate", None);
    assert!(answer.status == 409 && answer.body.contains("give it an id of its own"), "{answer:?}");
    assert!(Signer::fetch(&session, &["https://api.acme.example/"]).0.success());
}

/// The agent's user, or even the signer's own without root, tries every way to the key that `/proc` and tracing offer.
#[test]
fn the_key_cannot_be_read_out_of_the_processes() {
    let uid = is_root().then_some(OTHER);
    // What can be read of a process that does not protect itself, by its own user: the attempts below are real ones.
    let mut plain = Command::new("sleep");
    plain.arg("600").env("SECRET", "1");
    if let Some(uid) = uid {
        plain.uid(uid).gid(uid);
    }
    let mut plain = plain.spawn().unwrap();
    eventually("a readable environment", || {
        let mut cat = Command::new("cat");
        cat.arg(format!("/proc/{}/environ", plain.id()));
        if let Some(uid) = uid {
            cat.uid(uid).gid(uid);
        }
        String::from_utf8_lossy(&cat.output().unwrap().stdout).contains("SECRET=1").then_some(())
    });
    plain.kill().unwrap();
    plain.wait().unwrap();
    let signer = Signer::start_as(uid, &["--orchestrator-uid", &own()], |_, _| {});
    signer.open_plain();
    let users = match uid {
        Some(own) => vec![Some(AGENT), Some(own)],
        None => vec![None],
    };
    for pid in [signer.pid(), signer.proxy_pid()] {
        for user in &users {
            let attempt = |program: &str, arguments: &[&str]| {
                let mut command = Command::new(program);
                command.args(arguments).stdin(Stdio::null());
                if let Some(uid) = user {
                    command.uid(*uid).gid(*uid);
                }
                command.output().map(|output| output.status.success())
            };
            for file in ["mem", "environ", "maps", "auxv", "stack", "syscall", "fd/0", "map_files", "root/", "cwd/"] {
                let path = format!("/proc/{pid}/{file}");
                // `cat` of a folder fails by itself; listing it is the attempt there.
                let program = if file.ends_with('/') || file == "map_files" { "ls" } else { "cat" };
                assert!(!attempt(program, &[&path]).unwrap(), "{user:?} could read {path}");
            }
            let descriptors = format!("/proc/{pid}/fd");
            assert!(!attempt("ls", &[&descriptors]).unwrap(), "{user:?} could list {descriptors}");
            let traced = pid.to_string();
            for (tracer, arguments) in [("strace", vec!["-p", &traced]), ("gcore", vec!["-o", "/dev/null", &traced])] {
                // A tracer that the machine does not have is no attempt.
                if let Ok(succeeded) = attempt(tracer, &arguments) {
                    assert!(!succeeded, "{user:?} could trace with {tracer}");
                }
            }
        }
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_ascii_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
        let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        for secret in secrets(&signer.key) {
            assert!(!cmdline.windows(secret.len()).any(|window| window == secret));
        }
    }
    if uid.is_some() {
        let file = signer.folder.path().join("signer.key");
        let mut command = Command::new("cat");
        assert!(!command.arg(file).uid(AGENT).gid(AGENT).output().unwrap().status.success());
    }
}

/// Even root finds the key in one of the two processes only, and in no file but its own.
#[test]
fn the_proxy_process_does_not_have_the_key() {
    let mut signer = Signer::start(&[]);
    let session = signer.open_plain();
    assert!(Signer::fetch(&session, &["https://api.acme.example/"]).0.success());
    let [seed, texts @ ..] = secrets(&signer.key);
    if is_root() {
        assert!(memory_holds(signer.pid(), &seed), "the search finds nothing, so it proves nothing");
        for secret in [&seed, &texts[0], &texts[1]] {
            assert!(!memory_holds(signer.proxy_pid(), secret));
        }
        // What was read from the file is wiped; the seed itself is what signing takes.
        for secret in &texts {
            assert!(!memory_holds(signer.pid(), secret));
        }
    }
    assert_eq!(files_hold(signer.folder.path(), b"PRIVATE KEY"), None, "the key of a session's authority");
    let password = session["proxy"].as_str().unwrap().split([':', '@']).nth(2).unwrap().to_owned();
    signer.signal(Signal::ABORT);
    let status = signer.wait();
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&status));
    std::fs::remove_file(signer.folder.path().join("signer.key")).unwrap();
    for secret in [&seed, &texts[0], &texts[1], &password.into_bytes()] {
        assert_eq!(files_hold(signer.folder.path(), secret), None);
    }
}
