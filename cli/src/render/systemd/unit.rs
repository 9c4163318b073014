//! A unit: sections of settings, as systemd reads them.

use std::fmt::Write as _;

/// A unit that is being written.
#[derive(Debug, Default)]
pub(super) struct Unit(String);

impl Unit {
    /// Begins a section.
    #[must_use]
    pub(super) fn section(mut self, name: &str) -> Self {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.0, "{gap}[{name}]");
        self
    }

    /// A comment before what follows.
    #[must_use]
    pub(super) fn note(mut self, text: &str) -> Self {
        let _ = writeln!(self.0, "# {text}");
        self
    }

    /// A setting.
    #[must_use]
    pub(super) fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        let _ = writeln!(self.0, "{key}={value}");
        self
    }

    /// A setting that may stand several times.
    #[must_use]
    pub(super) fn each(self, key: &str, values: impl IntoIterator<Item = impl std::fmt::Display>) -> Self {
        values.into_iter().fold(self, |unit, value| unit.set(key, value))
    }

    /// A command; an option and what belongs to it are a line.
    #[must_use]
    pub(super) fn command(self, key: &str, words: &[String]) -> Self {
        let mut lines = vec![String::new()];
        for word in words {
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.clone_from(word),
                Some(line) if !word.starts_with('-') => _ = write!(line, " {word}"),
                _ => lines.push(word.clone()),
            }
        }
        self.set(key, lines.join(" \\\n  "))
    }

    /// Its lines in the journal, all of them: by the usual limit a flood of requests would choose which are kept. An interval of 0
    /// would be that usual limit, so the limit is one that nothing reaches.
    #[must_use]
    pub(super) fn logged(self, name: &str) -> Self {
        self.set("SyslogIdentifier", name).set("LogRateLimitIntervalSec", "1s").set("LogRateLimitBurst", "1000000")
    }

    /// What every unit is kept from. `writable_code`: whether it makes code while it runs.
    #[must_use]
    pub(super) fn hardened(self, writable_code: bool, families: &str, calls: &str) -> Self {
        let yes = [
            "NoNewPrivileges",
            "ProtectHome",
            "PrivateTmp",
            "PrivateDevices",
            "ProtectKernelTunables",
            "ProtectKernelModules",
            "ProtectKernelLogs",
            "ProtectControlGroups",
            "ProtectClock",
            "ProtectHostname",
            "RestrictNamespaces",
            "RestrictRealtime",
            "RestrictSUIDSGID",
            "LockPersonality",
            "RemoveIPC",
        ];
        let unit = self.set("ProtectSystem", "strict").set("ProtectProc", "invisible");
        let unit = yes.iter().fold(unit, |unit, key| unit.set(key, "yes"));
        let unit = match writable_code {
            true => unit.note("V8 makes code while it runs, so MemoryDenyWriteExecute is not set."),
            false => unit.set("MemoryDenyWriteExecute", "yes"),
        };
        unit.set("CapabilityBoundingSet", "")
            .set("AmbientCapabilities", "")
            .set("RestrictAddressFamilies", families)
            .set("SystemCallArchitectures", "native")
            .set("SystemCallFilter", calls)
            .set("SystemCallFilter", "~@privileged @debug @mount @obsolete @raw-io @reboot @swap")
            .set("SystemCallErrorNumber", "EPERM")
            .set("KeyringMode", "private")
            .set("UMask", "0077")
            .set("LimitCORE", "0")
            .set("DevicePolicy", "closed")
    }

    /// The file.
    pub(super) fn text(self) -> String {
        self.0
    }
}
