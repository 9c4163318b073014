//! The units themselves.

use super::unit::Unit;
use super::{ADMIN, FAMILIES, PAGE, RELAY, SECRETS, SIGNING_KEY, SystemdArgs, addresses};
use crate::render::common::Accepted;
use exeat_engine::destination::Cidr;

impl SystemdArgs {
    pub(super) fn gateway(&self, accepted: &Accepted) -> String {
        let gateway = accepted.configuration.gateway();
        let variables: Vec<&str> =
            std::iter::once(gateway.key_env()).chain(gateway.collector().token_env.as_deref()).collect();
        let mut credentials: Vec<&str> = variables.clone();
        if self.is_tls() {
            credentials.extend(["tls.crt", "tls.key", "ca.crt"]);
        }
        credentials.extend(accepted.configuration.policy().injected().map(|(_, _, secret)| secret));
        credentials.sort_unstable();
        credentials.dedup();
        // Envoy hands the module variables, and no files. `$$` is a dollar sign of the shell's.
        let exports: String = variables
            .iter()
            .map(|name| format!("{name}=\"$$(cat \"$$CREDENTIALS_DIRECTORY/{name}\")\"; export {name}; "))
            .collect();
        let start = format!(
            "/bin/sh -ceu '{exports}\\\n  exec {} -c /etc/exeat/envoy.yaml --concurrency {} --log-level warning \\\n  \
             --component-log-level wasm:info --disable-hot-restart --drain-time-s 10 --drain-strategy immediate'",
            self.envoy, self.workers
        );
        let resolvers = self.resolver.iter().map(|address| Cidr::single(address.ip()));
        let open: Vec<Cidr> =
            addresses::named(accepted).into_iter().chain(self.clients.iter().copied()).chain(resolvers).collect();
        unit_of(&format!("Exeat gateway {}", gateway.id()))
            .set("Wants", "network-online.target exeat-relay.service")
            .note("It ends before the relay does, which takes its last records.")
            .set("After", "network-online.target exeat-relay.service")
            .set("StartLimitIntervalSec", "0")
            .section("Service")
            .set("Type", "exec")
            .set("DynamicUser", "yes")
            .each("LoadCredential", credentials.iter().map(|name| format!("{name}:{SECRETS}/{name}")))
            .set("ExecStart", start)
            .note("No more requests are taken, and the last records are delivered, before Envoy is told to end: it ends at once.")
            .command("ExecStop", &words(&[&self.exeat, "drain", &format!("unix:{ADMIN}"), "--limit", "20"]))
            .set("TimeoutStopSec", "40")
            .set("Restart", "always")
            .set("RestartSec", "1")
            .set("RuntimeDirectory", "exeat-gateway")
            .set("RuntimeDirectoryMode", "0700")
            .set("MemoryMax", &self.memory)
            .set("MemorySwapMax", "0")
            .set("LimitNOFILE", "65536")
            .set("TasksMax", "256")
            .note("Everything that is closed to destinations, less what the policy opens, its clients and its name servers.")
            .each("IPAddressDeny", addresses::closed())
            .each("IPAddressAllow", std::iter::once("localhost".to_owned()).chain(open.iter().map(Cidr::to_string)))
            // Envoy lists the machine's interfaces.
            .logged("exeat-gateway")
            .hardened(true, &format!("{FAMILIES} AF_NETLINK"), "@system-service @pkey")
            .section("Install")
            .set("WantedBy", "multi-user.target")
            .text()
    }

    pub(super) fn relay(&self, accepted: &Accepted) -> String {
        let far = self.collector.starts_with("https://");
        let mut command =
            words(&[&self.exeat, "collect", "--listen", &RELAY.to_string(), "--db", "/var/lib/exeat-relay/relay.db"]);
        command.extend(self.public(accepted));
        command.extend(words(&["--forward", &self.collector]));
        if far {
            command.extend(words(&["--forward-ca", "%d/ca.crt", "--forward-token", "%d/collector.token"]));
        }
        let credentials = if far { &["ca.crt", "collector.token"][..] } else { &[] };
        let after = "network.target exeat-collector.service";
        store_of("Exeat relay: evidence on its way to the collector", "exeat-relay", after, credentials, &command)
            .set("MemoryMax", "256M")
            .set("TasksMax", "64")
            .set("IPAddressDeny", "any")
            .each(
                "IPAddressAllow",
                std::iter::once("localhost".to_owned()).chain(self.names_and(&self.collector_at, far)),
            )
            .logged("exeat-relay")
            .hardened(false, FAMILIES, "@system-service")
            .section("Install")
            .set("WantedBy", "multi-user.target")
            .text()
    }

    pub(super) fn collector_unit(&self, accepted: &Accepted) -> String {
        let far = !self.collector_listen.ip().is_loopback();
        let mut command = words(&[
            &self.exeat,
            "collect",
            "--listen",
            &self.collector_listen.to_string(),
            "--db",
            "/var/lib/exeat-collector/evidence.db",
        ]);
        command.extend(self.public(accepted));
        if far {
            command.extend(words(&[
                "--tls-cert",
                "%d/collector.crt",
                "--tls-key",
                "%d/collector.key",
                "--token",
                "%d/collector.token",
            ]));
        }
        if let Some(keep) = &self.keep {
            command.extend(words(&["--keep", keep]));
        }
        let credentials = if far { &["collector.crt", "collector.key", "collector.token"][..] } else { &[] };
        let relays = if far { self.relays_at.iter().map(Cidr::to_string).collect() } else { Vec::new() };
        store_of("Exeat collector: evidence", "exeat-collector", "network.target", credentials, &command)
            .set("MemoryMax", "512M")
            .set("TasksMax", "64")
            .set("LimitNOFILE", "4096")
            .set("IPAddressDeny", "any")
            .each("IPAddressAllow", std::iter::once("localhost".to_owned()).chain(relays))
            .logged("exeat-collector")
            .hardened(false, FAMILIES, "@system-service")
            .section("Install")
            .set("WantedBy", "multi-user.target")
            .text()
    }

    pub(super) fn signer(&self, accepted: &Accepted) -> String {
        let id = accepted.configuration.gateway().id();
        let scheme = if self.is_tls() { "https" } else { "http" };
        let mut command = words(&[
            &self.exeat,
            "signer",
            "--key",
            SIGNING_KEY,
            "--gateway",
            &format!("{scheme}://{}", self.listen),
            "--gateway-id",
            id,
            "--runtime-dir",
            "/run/exeat",
            "--spool-dir",
            "/var/lib/exeat-signer",
        ]);
        if self.is_tls() {
            command.extend(words(&[
                "--gateway-ca",
                "%d/ca.crt",
                "--client-cert",
                "%d/signer.crt",
                "--client-key",
                "%d/signer.tls.key",
            ]));
        }
        command.extend(self.orchestrator.iter().flat_map(|user| words(&["--orchestrator-uid", user])));
        command.extend(self.tool.iter().flat_map(|user| words(&["--tool-uid", user])));
        let credentials = match self.is_tls() {
            true => &["ca.crt", "signer.crt", "signer.tls.key"][..],
            false => &[],
        };
        let gateway = self.is_tls().then(|| Cidr::single(self.listen.ip()).to_string());
        unit_of("Exeat signer")
            .set("After", "network.target exeat-gateway.service")
            .set("StartLimitIntervalSec", "0")
            .section("Service")
            .set("Type", "exec")
            .note("A user that can be told from others: agents are never it.")
            .set("User", "exeat-signer")
            .each("LoadCredential", credentials.iter().map(|name| format!("{name}:{SECRETS}/{name}")))
            .command("ExecStart", &command)
            .note("It reads its key again.")
            .set("ExecReload", "/bin/kill -HUP $MAINPID")
            .note("Requests under way end within --grace, 20 s; the process that is told has its proxy end after them.")
            .set("KillMode", "mixed")
            .set("TimeoutStopSec", "40")
            .set("Restart", "always")
            .set("RestartSec", "1")
            .set("RuntimeDirectory", "exeat")
            .set("RuntimeDirectoryMode", "0755")
            .set("StateDirectory", "exeat-signer")
            .set("StateDirectoryMode", "0700")
            .set("MemoryMax", "512M")
            .set("MemorySwapMax", "0")
            .set("LimitMEMLOCK", "8M")
            .set("LimitNOFILE", "16384")
            .set("TasksMax", "128")
            .set("IPAddressDeny", "any")
            .each("IPAddressAllow", std::iter::once("localhost".to_owned()).chain(gateway))
            .logged("exeat-signer")
            // It shuts its own proxy in.
            .hardened(
                false,
                FAMILIES,
                "@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp",
            )
            .section("Install")
            .set("WantedBy", "multi-user.target")
            .text()
    }

    fn public(&self, accepted: &Accepted) -> Vec<String> {
        let id = accepted.configuration.gateway().id();
        self.gateway_key.iter().flat_map(|key| words(&["--key", &format!("{id}={key}")])).collect()
    }

    /// Ranges, and the name servers that lead there.
    fn names_and(&self, ranges: &[Cidr], far: bool) -> Vec<String> {
        let ranges = if far { ranges } else { &[] };
        let resolvers = self.resolver.iter().filter(|_| far).map(|address| Cidr::single(address.ip()));
        ranges.iter().copied().chain(resolvers).map(|range| range.to_string()).collect()
    }
}

fn unit_of(what: &str) -> Unit {
    // `%` begins a specifier.
    Unit::default().section("Unit").set("Description", what.replace('%', "%%")).set("Documentation", PAGE)
}

/// One that keeps a store in a folder of its own, up to what it may use.
fn store_of(what: &str, folder: &str, after: &str, credentials: &[&str], command: &[String]) -> Unit {
    unit_of(what)
        .set("After", after)
        .set("StartLimitIntervalSec", "0")
        .section("Service")
        .set("Type", "exec")
        .set("DynamicUser", "yes")
        .each("LoadCredential", credentials.iter().map(|name| format!("{name}:{SECRETS}/{name}")))
        .command("ExecStart", command)
        .set("TimeoutStopSec", "30")
        .set("Restart", "always")
        .set("RestartSec", "1")
        .set("StateDirectory", folder)
        .set("StateDirectoryMode", "0700")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
