//! What the proxy process cannot do any more, tried from within. Landlock, seccomp and capabilities hold for the thread that
//! takes them on, so each test takes them on in a thread of its own.

#![cfg(test)]

use exeat_signer::daemon::harden_proxy;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

fn try_all(spool: &Path, outside: &Path, gateway: &TcpListener, other: &TcpListener, control: &Path) {
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let before = File::open(outside).unwrap();
    let hardening = harden_proxy(spool, port(gateway));
    let holds = |measure: &str| hardening.in_force.iter().any(|other| other.contains(measure));

    // What it keeps.
    let mut file = tempfile::tempfile_in(spool).unwrap();
    file.write_all(b"body").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "body");
    let mut text = String::new();
    (&before).read_to_string(&mut text).unwrap();
    assert_eq!(text, "outside");
    TcpStream::connect(gateway.local_addr().unwrap()).unwrap();
    std::thread::spawn(|| ()).join().unwrap();
    UnixStream::pair().unwrap();
    let (_accepted, _) = gateway.accept().unwrap();

    if holds("no files but the spool's") {
        for path in [outside, Path::new("/etc/passwd"), Path::new("/proc/self/environ"), Path::new("/proc/self/mem")] {
            assert!(File::open(path).is_err(), "{path:?}");
        }
        assert!(std::fs::read_dir(outside.parent().unwrap()).is_err());
        assert!(File::create(outside.with_extension("new")).is_err());
        assert!(std::fs::remove_file(outside).is_err());
        assert!(std::fs::create_dir(spool.join("folder")).is_err());
        assert!(UnixListener::bind(spool.join("socket")).is_err());
    }
    if holds("TCP to the gateway's port only") {
        assert!(TcpStream::connect(other.local_addr().unwrap()).is_err());
    }
    if holds("system calls filtered") {
        assert!(UnixStream::connect(control).is_err(), "the control socket");
        assert!(UnixDatagram::unbound().is_err());
        assert!(UdpSocket::bind("127.0.0.1:0").is_err());
        assert!(TcpListener::bind("127.0.0.1:0").is_err());
        assert!(Command::new("/bin/true").spawn().is_err());
        let parent = rustix::process::getppid().unwrap();
        for pid in [rustix::process::getpid(), parent, Pid::INIT] {
            assert!(kill_process(pid, Signal::CONT).is_err());
        }
        assert!(rustix::process::pidfd_open(parent, rustix::process::PidfdFlags::empty()).is_err());
        assert!(rustix::process::chroot("/").is_err());
        // What is refused to a thread is refused to those it starts.
        assert!(std::thread::spawn(|| UdpSocket::bind("127.0.0.1:0").is_err()).join().unwrap());
    }
    if holds("no capabilities") {
        assert!(rustix::thread::capabilities(None).unwrap().effective.is_empty());
    }
    assert!(rustix::thread::no_new_privs().unwrap());
    if holds("system calls filtered") && holds("no capabilities") {
        // A unit's own filter may refuse to drop what is not there any more, as this one does now.
        let again = harden_proxy(spool, port(gateway));
        assert!(again.in_force.contains(&"no capabilities"), "{again:?}");
    }
    for missing in &hardening.missing {
        eprintln!("not tried here, because the kernel does not have it: {missing}");
    }
}

#[test]
fn the_proxy_can_reach_its_gateway_and_its_spool_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, outside) = (folder.path().join("spool"), folder.path().join("outside"));
    std::fs::create_dir(&spool).unwrap();
    std::fs::write(&outside, "outside").unwrap();
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (gateway, other) = (listener(), listener());
    let control = folder.path().join("control.sock");
    let _control = UnixListener::bind(&control).unwrap();
    // All of it works without.
    TcpStream::connect(other.local_addr().unwrap()).unwrap();
    UnixStream::connect(&control).unwrap();
    assert!(Command::new("/bin/true").status().unwrap().success());
    let tried = std::thread::spawn({
        let (spool, outside, control) = (spool.clone(), outside.clone(), control.clone());
        move || try_all(&spool, &outside, &gateway, &other, &control)
    });
    tried.join().unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "outside");
}
