//! What is rendered, and that the real Envoy with the real filter takes it.

use super::super::common::text;
use super::super::yaml;
use super::bootstrap::{Admin, ListenerTls, Settings};
use super::upstream::{CollectorAddress, WAYS_OUT};
use exeat_engine::destination::Exit;
use exeat_engine::policy::{Configuration, PluginConfiguration};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

fn plugin(scheme: &str) -> String {
    let policy = json!({
        "schema": "exeat/v1",
        // Text that a careless printer of YAML would break.
        "revision": "yes: - #\"'\\ \u{2028} \u{e9} {{",
        "signers": [{"id": "s", "keys": [{"public": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}], "agents": ["*"]}],
        "destinations": {"crm": {"hosts": ["crm.example"], "accepts": "internal"}},
        "agents": {"a": {"allow": [{"id": "r", "to": ["crm"], "paths": ["/**"], "limits": {"body": "3MiB"}}]}},
    });
    let gateway = json!({
        "id": "egress-test", "key": {"env": "EXEAT_GATEWAY_KEY"}, "collector": {"cluster": "evidence"},
        "upstream": {"scheme": scheme},
    });
    serde_json::to_string_pretty(&json!({"role": "filter", "gateway": gateway, "policy": policy})).unwrap()
}

/// Settings for loopback, handed to `then`.
fn with_settings<T>(scheme: &str, module: &str, ca: &str, then: impl FnOnce(&Settings<'_>) -> T) -> T {
    let plugin = plugin(scheme);
    let configuration = Configuration::accept(plugin.as_bytes()).unwrap();
    let resolvers = ["127.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
    let document: Value = serde_json::from_str(&plugin).unwrap();
    then(&Settings {
        configuration: &configuration,
        plugin: &plugin,
        gateway: &document["gateway"],
        module,
        vm_id: "exeat",
        listen: "127.0.0.1:15001".parse().unwrap(),
        admin: Admin::parse("[::1]:15000").unwrap(),
        collector: CollectorAddress::parse("127.0.0.1:9470", None).unwrap(),
        resolvers: &resolvers,
        ca,
        access_log: None,
        secrets: None,
        max_heap: 2 << 30,
        tls: None,
    })
}

/// The manager of the listener.
fn manager(listener: &Value) -> &Value {
    &listener["filter_chains"][0]["filters"][0]["typed_config"]
}

#[test]
fn the_listener_rewrites_nothing_and_trusts_no_client() {
    with_settings("https", "exeat.wasm", "ca.pem", |settings| {
        let listener = settings.listener();
        let manager = manager(&listener);
        for (key, value) in [
            ("normalize_path", json!(false)),
            ("merge_slashes", json!(false)),
            ("path_with_escaped_slashes_action", json!("KEEP_UNCHANGED")),
            ("use_remote_address", json!(true)),
            ("internal_address_config", json!({})),
            ("preserve_external_request_id", json!(false)),
            ("generate_request_id", json!(true)),
        ] {
            assert_eq!(manager[key], value, "{key}");
        }
        assert_eq!(manager["common_http_protocol_options"]["headers_with_underscores_action"], "REJECT_REQUEST");
        let text = listener.to_string();
        for absent in ["upgrade_type", "connect_matcher", "retry_policy", "FAIL_OPEN", "capability_restriction"] {
            assert!(!text.contains(absent), "{absent}");
        }
        assert_eq!(manager["http2_protocol_options"]["allow_connect"], false);
        // Exeat is the first filter that a request meets.
        let filter = &manager["http_filters"][0]["typed_config"]["config"];
        assert_eq!(filter["failure_policy"], "FAIL_RELOAD");
        assert_eq!(filter["allow_on_headers_stop_iteration"], true);
        assert_eq!(filter["vm_config"]["environment_variables"]["host_env_keys"], json!(["EXEAT_GATEWAY_KEY"]));
        assert_eq!(filter["configuration"]["value"], settings.plugin);
        // 3 MiB may be allowed, and one read beyond them.
        assert_eq!(listener["per_connection_buffer_limit_bytes"], 1 << 20);
        let host = &manager["route_config"]["virtual_hosts"][0];
        assert_eq!(host["request_body_buffer_limit"], 4 << 20);
        // The way out is only for what the filter released.
        let routes = host["routes"].as_array().unwrap();
        let ways: Vec<_> =
            routes.iter().map(|route| (&route["match"]["filter_state"], &route["route"]["cluster"])).collect();
        let released = |word| json!([{"key": "wasm.exeat.released", "string_match": {"exact": word}}]);
        assert_eq!(
            ways,
            [
                (&released("https"), &json!("egress-https")),
                (&released("http"), &json!("egress-http")),
                (&Value::Null, &json!("nowhere"))
            ]
        );
        assert!(settings.nowhere_cluster().get("load_assignment").is_none());
    });
}

#[test]
fn administration_is_on_loopback_or_a_socket() {
    for (text, good) in [
        ("127.0.0.1:15000", true),
        ("[::1]:0", true),
        ("0.0.0.0:15000", false),
        ("10.0.0.1:15000", false),
        ("localhost:15000", false),
        ("unix:/run/exeat/admin.sock", true),
        ("unix:admin.sock", false),
        ("unix:", false),
    ] {
        assert_eq!(Admin::parse(text).is_ok(), good, "{text}");
    }
}

#[test]
fn certificates_are_checked_against_the_authority() {
    with_settings("https", "exeat.wasm", "ca.pem", |settings| {
        for way in &WAYS_OUT {
            let cluster = settings.egress_cluster(way);
            let options = options(&cluster);
            let tls = way.exits.iter().any(|exit| matches!(exit, Exit::Https | Exit::HttpsUpgrade));
            assert_eq!(cluster["cluster_type"]["typed_config"]["sub_clusters_config"]["max_sub_clusters"], 4096);
            let insecure = &cluster["cluster_type"]["typed_config"]["allow_insecure_cluster_options"];
            if !tls {
                assert!(cluster["transport_socket"].is_null());
                assert_eq!(insecure, true);
                continue;
            }
            assert!(insecure.is_null());
            let checks = json!({"auto_sni": true, "auto_san_validation": true});
            assert_eq!(options["upstream_http_protocol_options"], checks);
            let tls = &cluster["transport_socket"]["typed_config"]["common_tls_context"];
            assert_eq!(tls["validation_context"], json!({"trusted_ca": {"filename": "ca.pem"}}));
        }
    });
}

fn options(cluster: &Value) -> &Value {
    &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
}

#[test]
fn every_way_out_has_a_guard_that_takes_no_other() {
    with_settings("https", "exeat.wasm", "ca.pem", |settings| {
        let mut guarded = Vec::new();
        for way in &WAYS_OUT {
            let cluster = settings.egress_cluster(way);
            let filters = options(&cluster)["http_filters"].as_array().unwrap();
            assert_eq!((filters.len(), &filters[1]["name"]), (2, &json!("envoy.filters.http.upstream_codec")));
            let guard = &filters[0]["typed_config"]["config"];
            let filter = settings.listener();
            let filter = &manager(&filter)["http_filters"][0]["typed_config"]["config"];
            // One VM on each worker: what the filter lets go is known to the guard.
            assert_eq!(guard["vm_config"], filter["vm_config"]);
            assert_ne!(guard["name"], filter["name"]);
            let text = guard["configuration"]["value"].as_str().unwrap();
            let PluginConfiguration::Guard(accepted) = PluginConfiguration::accept(text.as_bytes()).unwrap() else {
                panic!("{text}")
            };
            assert_eq!(accepted.exits(), way.exits);
            guarded.extend_from_slice(accepted.exits());
        }
        assert_eq!(guarded.len(), Exit::ALL.len());
        assert!(Exit::ALL.iter().all(|exit| guarded.contains(exit)));
    });
}

#[test]
fn tunnels_and_upgrades_are_there_only_where_the_policy_has_them() {
    let more = r#""accepts": "internal", "tunnel": true, "upgrade": ["websocket"], "life": "90s""#;
    let open = plugin("https").replace(r#""accepts": "internal""#, more);
    let configuration = Configuration::accept(open.as_bytes()).unwrap();
    with_settings("https", "exeat.wasm", "ca.pem", |settings| {
        let (admin, collector) = (settings.admin.clone(), settings.collector.clone());
        let settings = Settings { configuration: &configuration, admin, collector, ..*settings };
        let listener = settings.listener();
        let manager = manager(&listener);
        assert_eq!(manager["upgrade_configs"], json!([{"upgrade_type": "CONNECT"}, {"upgrade_type": "websocket"}]));
        let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array().unwrap();
        let clusters: Vec<_> = routes.iter().map(|route| route["route"]["cluster"].as_str().unwrap()).collect();
        let expected = [
            "egress-tunnel",
            "nowhere",
            "egress-https-upgrade",
            "egress-http",
            "egress-https",
            "egress-http",
            "nowhere",
        ];
        assert_eq!(clusters, expected);
        for (route, life) in routes.iter().zip([Some("90s"), None, Some("90s"), Some("90s"), None, None, None]) {
            assert_eq!(route["route"]["max_stream_duration"]["max_stream_duration"].as_str(), life);
            // Only the last one, and the one for CONNECT, lead nowhere without having been let go.
            assert_eq!(route["match"]["filter_state"].is_null(), route["route"]["cluster"] == "nowhere");
        }
    });
}

#[test]
fn evidence_leaves_loopback_only_under_tls() {
    for (text, ca, good) in [
        ("127.0.0.1:9470", None, true),
        ("[::1]:9470", None, true),
        ("localhost:9470", None, true),
        ("collector.example:443", None, false),
        ("10.0.0.1:9470", None, false),
        ("0x7f.1:9470", None, true),
        ("collector.example:443", Some("ca.pem"), true),
        ("collector.example", Some("ca.pem"), false),
        ("collector.example:0", Some("ca.pem"), false),
        (":9470", Some("ca.pem"), false),
    ] {
        assert_eq!(CollectorAddress::parse(text, ca.map(str::to_owned)).is_ok(), good, "{text}");
    }
    with_settings("https", "exeat.wasm", "ca.pem", |settings| {
        assert_eq!(settings.collector_cluster()["name"], "evidence");
        assert_eq!(settings.collector_cluster()["type"], "STATIC");
        for (text, sni) in [("collector.example:443", json!("collector.example")), ("192.0.2.7:443", Value::Null)] {
            let pair = Some(("own.crt".to_owned(), "own.key".to_owned()));
            let collector = CollectorAddress::parse(text, Some("ca.pem".to_owned())).unwrap().showing(pair);
            let settings = Settings { collector, admin: settings.admin.clone(), ..*settings };
            let tls = &settings.collector_cluster()["transport_socket"]["typed_config"];
            assert_eq!(tls["sni"], sni);
            let own = json!([{"certificate_chain": {"filename": "own.crt"}, "private_key": {"filename": "own.key"}}]);
            assert_eq!(tls["common_tls_context"]["tls_certificates"], own);
        }
    });
}

#[test]
fn the_module_sees_the_secrets_that_its_gateway_names_and_no_others() {
    with_settings("https", "exeat.wasm", "ca.pem", |settings| {
        let variables = |settings: &Settings<'_>| {
            let filter = settings.module_filter("exeat", "{}");
            filter["typed_config"]["config"]["vm_config"]["environment_variables"]["host_env_keys"].clone()
        };
        assert_eq!(variables(settings), json!(["EXEAT_GATEWAY_KEY"]));
        let plugin =
            settings.plugin.replace(r#""cluster": "evidence""#, r#""cluster": "evidence", "token": {"env": "TOKEN"}"#);
        let configuration = Configuration::accept(plugin.as_bytes()).unwrap();
        let (admin, collector) = (settings.admin.clone(), settings.collector.clone());
        let settings = Settings { configuration: &configuration, admin, collector, ..*settings };
        assert_eq!(variables(&settings), json!(["EXEAT_GATEWAY_KEY", "TOKEN"]));
    });
}

#[test]
fn yaml_says_the_same_as_json() {
    with_settings("https", "a \"quoted\" path/exeat.wasm", "ca.pem", |settings| {
        let mut bootstrap = settings.bootstrap();
        // What readers of YAML take for something else.
        bootstrap["odd"] = json!([
            "yes",
            "no",
            "on",
            "~",
            "null",
            "1e3",
            "0x10",
            "1_000",
            ".5",
            "-",
            "a: b",
            "a #b",
            "",
            " a",
            "a ",
            "\t",
            "[",
            "%x",
            "@x",
            "`x",
            "&x",
            "*x",
            "!x",
            "line\nline",
            "end\n",
            "\n",
            "  indented\nline",
            "a\r\nb",
            "2026-01-01",
            "12:30",
            "=",
            "<<"
        ]);
        let text = yaml::print(&bootstrap).unwrap();
        let source = crate::policy::yaml::Source::parse(Path::new("x.yaml"), &text).unwrap();
        assert_eq!(serde_json::to_value(&source.node).unwrap(), bootstrap);
    });
}

/// A part of the stage that tests play on.
fn stage(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    path.map(PathBuf::from).unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask test`, which sets it"))
}

/// Envoy's verdict on a configuration. The filter is loaded and configured, too.
fn validate(configuration: &Path) -> Result<(), String> {
    let output = Command::new(stage("EXEAT_ENVOY"))
        .args(["--mode", "validate", "--use-dynamic-base-id", "--log-level", "warning", "-c"])
        .arg(configuration)
        // A test key: base64 of 32 zeroes.
        .env("EXEAT_GATEWAY_KEY", format!("{}=", "A".repeat(43)))
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))),
    }
}

/// Certificate authorities to trust: none is ever asked here, but Envoy reads the file.
fn authorities(folder: &Path) -> String {
    let file = folder.join("ca.pem");
    std::fs::write(&file, include_str!("tests/ca.pem")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn the_real_envoy_takes_what_is_rendered() {
    let module = stage("EXEAT_WASM");
    let (folder, module) = (tempfile::tempdir().unwrap(), module.to_str().unwrap());
    let ca = authorities(folder.path());
    for scheme in ["https", "http"] {
        with_settings(scheme, module, &ca, |settings| {
            for json in [true, false] {
                let file = folder.path().join(if json { "envoy.json" } else { "envoy.yaml" });
                std::fs::write(&file, text(&settings.bootstrap(), json).unwrap()).unwrap();
                validate(&file).unwrap_or_else(|said| panic!("{scheme}, JSON {json}: {said}"));
            }
        });
    }
}

#[test]
fn the_real_envoy_refuses_what_the_engine_refuses() {
    let module = stage("EXEAT_WASM");
    let (folder, module) = (tempfile::tempdir().unwrap(), module.to_str().unwrap());
    let ca = authorities(folder.path());
    with_settings("https", module, &ca, |settings| {
        let file = folder.path().join("envoy.yaml");
        let wrong = settings.plugin.replace("exeat/v1", "exeat/v0");
        let (admin, collector) = (settings.admin.clone(), settings.collector.clone());
        let settings = Settings { plugin: &wrong, admin, collector, ..*settings };
        std::fs::write(&file, text(&settings.bootstrap(), false).unwrap()).unwrap();
        let said = validate(&file).unwrap_err();
        assert!(said.contains(r#"policy: /schema: unknown schema "exeat/v0"; write exeat/v1"#), "{said}");
    });
}

#[test]
fn a_listener_with_authorities_of_clients_demands_their_certificates() {
    let rendered = |client_ca| {
        with_settings("https", "exeat.wasm", "ca.pem", |settings| {
            let tls = Some(ListenerTls { certificate: "tls.crt", key: "tls.key", client_ca });
            let settings =
                Settings { tls, collector: settings.collector.clone(), admin: settings.admin.clone(), ..*settings };
            settings.listener()["filter_chains"][0]["transport_socket"]["typed_config"].clone()
        })
    };
    let mutual = rendered(Some("clients.pem"));
    assert_eq!(mutual["require_client_certificate"], true);
    let common = &mutual["common_tls_context"];
    assert_eq!(common["validation_context"], json!({"trusted_ca": {"filename": "clients.pem"}}));
    assert_eq!(common["tls_certificates"][0]["private_key"]["filename"], "tls.key");
    // A certificate that nobody checks would still be shown to the filter: so none is asked for.
    let plain = rendered(None);
    assert_eq!(plain["require_client_certificate"], false);
    assert!(plain["common_tls_context"].get("validation_context").is_none());
    with_settings("https", "exeat.wasm", "ca.pem", |settings| {
        assert!(settings.listener()["filter_chains"][0].get("transport_socket").is_none());
    });
}

#[test]
fn a_listener_in_a_file_is_the_same_listener() {
    with_settings("https", "exeat.wasm", "ca.pem", |settings| {
        let mut listener = settings.listener_file()["resources"][0].clone();
        assert_eq!(
            listener.as_object_mut().unwrap().remove("@type").unwrap(),
            "type.googleapis.com/envoy.config.listener.v3.Listener"
        );
        assert_eq!(listener, settings.bootstrap()["static_resources"]["listeners"][0]);
        let bootstrap = settings.bootstrap_with_listener_file("/etc/exeat/listener.yaml");
        assert!(bootstrap["static_resources"]["listeners"].is_null());
        let source = &bootstrap["dynamic_resources"]["lds_config"]["path_config_source"];
        assert_eq!(source["path"], "/etc/exeat/listener.yaml");
    });
}
