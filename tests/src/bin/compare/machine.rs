//! The machine: which core does what, what a process used of it, and what others used.

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where things run: Envoy alone on one core, everything else on the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// Envoy's.
    pub(crate) gateway: usize,
    /// Generator, upstream, name server, collector.
    pub(crate) rest: usize,
}

impl Cores {
    /// The first two that this process may use.
    pub(crate) fn choose() -> Result<Self> {
        let set = sched_getaffinity(None).context("which cores may be used")?;
        let mut free = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
        let (Some(gateway), Some(rest)) = (free.next(), free.next()) else {
            anyhow::bail!("one core is not enough: Envoy needs one for itself, the load another");
        };
        Ok(Self { gateway, rest })
    }
}

/// Keeps this thread, and what it starts from now on, on one core.
pub(crate) fn stay_on(core: usize) -> Result<()> {
    sched_setaffinity(None, &only(core)).with_context(|| format!("cannot stay on core {core}"))
}

/// Moves all threads of a process to one core.
pub(crate) fn move_to(pid: u32, core: usize) -> Result<()> {
    for thread in threads(pid)? {
        let id = i32::try_from(thread).ok().and_then(Pid::from_raw);
        // A thread that ended meanwhile needs no core.
        let moved = sched_setaffinity(id, &only(core));
        ensure!(
            moved.is_ok() || !Path::new(&format!("/proc/{pid}/task/{thread}")).exists(),
            "cannot move thread {thread} of process {pid} to core {core}: {moved:?}"
        );
    }
    Ok(())
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

fn threads(pid: u32) -> Result<Vec<u32>> {
    let folder = format!("/proc/{pid}/task");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Time that the threads of a process were on a processor, user and system, to the nanosecond.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut nanos = 0_u64;
    for thread in threads(pid)? {
        let path = format!("/proc/{pid}/task/{thread}/schedstat");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read {path}; the kernel needs CONFIG_SCHED_INFO, without which CPU time is not known to the microsecond")
        })?;
        let own: u64 = text.split(' ').next().unwrap_or_default().parse().with_context(|| format!("{path}: {text}"))?;
        nanos = nanos.saturating_add(own);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// What a core did since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreTime {
    /// Work.
    pub(crate) busy: Duration,
    /// What the hypervisor gave to others while there was work.
    pub(crate) stolen: Duration,
}

impl CoreTime {
    /// As the kernel counts it.
    pub(crate) fn now(core: usize) -> Result<Self> {
        let text = std::fs::read_to_string("/proc/stat")?;
        Self::read(&text, core).with_context(|| format!("/proc/stat says nothing of core {core}"))
    }

    fn read(text: &str, core: usize) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
        let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        // proc_stat(5): user nice system idle iowait irq softirq steal, in hundredths of a second. The last two, guests,
        // are part of user and nice.
        let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = fields.as_slice() else { return None };
        let ticks = |count: u64| Duration::from_millis(count.saturating_mul(10));
        Some(Self { busy: ticks(user + nice + system + irq + softirq), stolen: ticks(*steal) })
    }

    /// From then to now.
    pub(crate) fn since(self, then: Self) -> Self {
        Self { busy: self.busy.saturating_sub(then.busy), stolen: self.stolen.saturating_sub(then.stolen) }
    }
}

/// What measurements are worth nothing without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Model of the processor.
    pub(crate) processor: String,
    /// How many there are.
    pub(crate) cores: usize,
    /// Whether there is a hypervisor below.
    pub(crate) is_virtual: bool,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// Its version.
    pub(crate) envoy: String,
}

impl Machine {
    /// This one.
    pub(crate) fn describe(envoy: &Path) -> Result<Self> {
        let info = std::fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
        let line = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.split_once(": "));
            value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let output = Command::new(envoy).arg("--version").output().context("envoy --version")?;
        Ok(Self {
            processor: line("model name"),
            cores: info.lines().filter(|line| line.starts_with("processor")).count(),
            is_virtual: line("flags").split(' ').any(|flag| flag == "hypervisor"),
            kernel: numbers(&release),
            envoy: envoy_version(&String::from_utf8_lossy(&output.stdout))
                .context("envoy --version says no version")?,
        })
    }
}

/// The release without what its builder added.
fn numbers(release: &str) -> String {
    release.trim().split('-').next().unwrap_or_default().to_owned()
}

/// `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`
fn envoy_version(text: &str) -> Option<String> {
    let mut parts = text.split_once("version: ")?.1.split('/').skip(1);
    let (version, build) = (parts.next()?, parts.nth(1)?);
    Some(if build == "RELEASE" { version.to_owned() } else { format!("{version} ({build})") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_in_hundredths() {
        let text = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 100 1 20 5000 7 2 3 9 0 0\ncpu1 0 0 0 1 0 0 0 0 0 0\n";
        let time = CoreTime::read(text, 0).unwrap();
        assert_eq!(time, CoreTime { busy: Duration::from_millis(1260), stolen: Duration::from_millis(90) });
        assert_eq!(CoreTime::read(text, 1).unwrap(), CoreTime::default());
        assert_eq!(CoreTime::read(text, 2), None);
        assert_eq!(CoreTime::read("cpu0 1 2 3\n", 0), None);
    }

    #[test]
    fn a_process_that_works_uses_time() {
        let own = std::process::id();
        let before = cpu_time(own).unwrap();
        let mut sum = 0_u64;
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while cpu_time(own).unwrap() < before + Duration::from_millis(20) {
            assert!(std::time::Instant::now() < end, "{sum}");
            sum = (0..1_000_000_u64).fold(sum, |sum, n| std::hint::black_box(sum.wrapping_add(n)));
        }
        assert!(resident(own).unwrap() > 1 << 20);
    }

    #[test]
    fn versions_are_those_of_envoy() {
        let text = "\n/x/envoy  version: 0123abcd/1.40.0/Clean/RELEASE/BoringSSL\n\n";
        assert_eq!(envoy_version(text).as_deref(), Some("1.40.0"));
        assert_eq!(envoy_version(&text.replace("RELEASE", "DEBUG")).as_deref(), Some("1.40.0 (DEBUG)"));
        assert_eq!(envoy_version("nothing"), None);
        assert_eq!(numbers("6.1.0-13-amd64\n"), "6.1.0");
    }
}
