//! Runs child processes: their output streams through, and while they are silent a line from time to time says that work
//! goes on. Output goes through pipes because only so can silence be noticed.

use std::io::{IsTerminal, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs `command` to its end. Prints `what` first; an exit other than 0 is an error that names it.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = stream(what, command, None)?;
    if !status.success() {
        bail!("{what}: failed ({status})\n  the command was: {}", shown(command));
    }
    Ok(())
}

/// As [`run`], but ends the command after `limit` and reports failure as `false`: for steps with another way out.
pub(crate) fn attempt(what: &str, command: &mut Command, limit: Duration) -> Result<bool> {
    Ok(stream(what, command, Some(limit))?.success())
}

/// Runs a quick probe silently. `None`: it could not be started or did not succeed.
pub(crate) fn probe(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Prints a line about what xtask itself does, apart from what children print.
pub(crate) fn say(line: &str) {
    eprintln!("==> {line}");
}

fn stream(what: &str, command: &mut Command, limit: Option<Duration>) -> Result<ExitStatus> {
    say(what);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command.spawn().with_context(|| format!("{what}: cannot start {}", shown(command)))?;
    let (alive, activity) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, std::io::stdout(), alive.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, std::io::stderr(), alive);
    }
    watch(what, &mut child, &activity, limit)
}

/// Copies until the end of `from`, and sends one token for each piece that came.
fn forward(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static, alive: mpsc::Sender<()>) {
    thread::spawn(move || {
        let mut buffer = [0_u8; 8192];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            // A closed terminal must not end the child half-way.
            let _ = to.write_all(buffer.get(..count).unwrap_or_default()).and_then(|()| to.flush());
            let _ = alive.send(());
        }
    });
}

fn watch(what: &str, child: &mut Child, activity: &Receiver<()>, limit: Option<Duration>) -> Result<ExitStatus> {
    let start = Instant::now();
    let mut last_sign = start;
    loop {
        match activity.recv_timeout(TICK) {
            Ok(()) => last_sign = Instant::now(),
            Err(RecvTimeoutError::Timeout) => {}
            // Both pipes are closed: the child ends, or lives on without output.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK / 10),
        }
        if let Some(status) = child.try_wait()? {
            drain(activity);
            return Ok(status);
        }
        if limit.is_some_and(|limit| start.elapsed() > limit) {
            say(&format!("{what}: given up after {} s", start.elapsed().as_secs()));
            child.kill()?;
            return Ok(child.wait()?);
        }
        if last_sign.elapsed() > HEARTBEAT {
            say(&format!("{what}: still at work ({} s)", start.elapsed().as_secs()));
            last_sign = Instant::now();
        }
    }
}

/// Lets the copying threads print what the child wrote last. Bounded: a daemon that it left behind may keep the pipes open.
fn drain(activity: &Receiver<()>) {
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        if activity.recv_timeout(TICK) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

const TICK: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_secs(15);
