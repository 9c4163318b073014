use std::os::unix::process::ExitStatusExt;

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> (Process, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).env("STAGE_VALUE", "given");
    (Process::spawn("probe", &command, &folder.path().join("log")).unwrap(), folder)
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state comes after the name in parentheses; a zombie only waits to be asked how it ended.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn both_outputs_and_the_environment_reach_the_log() {
    let (process, _folder) = shell("echo out $STAGE_VALUE; echo err >&2; sleep 60");
    assert_eq!(process.wait_for_log("out", SOON).unwrap(), "out given");
    process.wait_for_log("err", SOON).unwrap();
}

#[test]
fn a_process_that_ends_early_is_reported_with_its_log() {
    let (process, _folder) = shell("echo the reason; exit 7");
    let error = process.wait_for_log("ready", SOON).unwrap_err().to_string();
    assert!(error.contains("probe ended with exit status: 7 before log line with `ready`"), "{error}");
    assert!(error.ends_with("the reason"), "{error}");
}

#[test]
fn a_deadline_is_reported_with_the_log() {
    let (process, _folder) = shell("echo still starting; sleep 60");
    process.wait_for_log("still starting", SOON).unwrap();
    let error = process.wait_for_log("ready", Duration::from_millis(50)).unwrap_err().to_string();
    assert!(error.contains("no log line with `ready` within 50ms"), "{error}");
    assert!(error.ends_with("still starting"), "{error}");
}

#[test]
fn dropping_ends_the_process() {
    let (process, _folder) = shell("exec sleep 60");
    let pid = process.pid();
    assert!(alive(pid));
    drop(process);
    assert!(!alive(pid));
}

#[test]
fn who_ignores_the_request_to_end_is_killed() {
    let (process, _folder) = shell("trap '' TERM; echo deaf; while :; do sleep 0.05; done");
    process.wait_for_log("deaf", SOON).unwrap();
    assert_eq!(process.stop(Duration::from_millis(200)).unwrap().signal(), Some(9));
}

#[test]
fn a_stopped_process_can_be_ended_politely() {
    let (process, _folder) = shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done");
    process.wait_for_log("up", SOON).unwrap();
    process.signal(Signal::STOP).unwrap();
    assert_eq!(process.stop(SOON).unwrap().code(), Some(5));
}

#[test]
fn children_outlive_the_thread_that_asked_for_them() {
    let (process, _folder) = std::thread::spawn(|| shell("exec sleep 60")).join().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(process.exit_status(), None);
}

/// Plays the parent that dies without dropping anything, and looks whether its child goes with it.
#[test]
fn a_killed_parent_takes_its_children_along() {
    const ROLE: &str = "EXEAT_STAGE_PARENT_LOG";
    if let Some(log) = std::env::var_os(ROLE) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo pid $$; exec sleep 60"]).env_remove(ROLE);
        let child = Process::spawn("grandchild", &command, Path::new(&log)).unwrap();
        child.wait_for_log("pid", SOON).unwrap();
        std::thread::sleep(SOON * 6);
        panic!("the parent was to be killed");
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("grandchild.log");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "stage::process::tests::a_killed_parent_takes_its_children_along"]).env(ROLE, &log);
    let parent = Process::spawn("parent", &command, &folder.path().join("parent.log")).unwrap();
    let line = parent
        .wait_until("pid of the grandchild", SOON, || {
            std::fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n'))
        })
        .unwrap();
    let pid: u32 = line.trim().strip_prefix("pid ").unwrap().parse().unwrap();
    assert!(alive(pid));
    parent.kill().unwrap();
    let end = Instant::now() + SOON;
    while alive(pid) {
        assert!(Instant::now() < end, "{pid} outlived its parent");
        std::thread::sleep(POLL);
    }
}
