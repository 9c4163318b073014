//! The listener: a forward proxy whose every request meets the filter.

use super::bootstrap::{ListenerTls, READ, Settings, socket_address};
use super::upstream::{EGRESS, NOWHERE, cluster_of};
use exeat_engine::destination::Exit;
use serde_json::{Value, json};

impl Settings<'_> {
    /// The listener that agents and signers speak to.
    pub(super) fn listener(&self) -> Value {
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "egress",
            "access_log": [self.access_log()],
            // What a client says of where it comes from, or of the request's id, counts for nothing, whatever its address.
            "use_remote_address": true,
            "internal_address_config": {},
            "skip_xff_append": true,
            "generate_request_id": true,
            "preserve_external_request_id": false,
            // The path is judged as it was sent and goes on as it was sent.
            "normalize_path": false,
            "merge_slashes": false,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "http_protocol_options": {"allow_absolute_url": true},
            "http2_protocol_options": {"max_concurrent_streams": 100, "allow_connect": self.configuration.policy().takes_tunnels()},
            "upgrade_configs": self.upgrades(),
            "common_http_protocol_options": {
                "idle_timeout": "300s",
                // `x_a` and `x-a` are the same to many servers: a reserved header would have a second name.
                "headers_with_underscores_action": "REJECT_REQUEST",
            },
            "request_headers_timeout": "10s",
            "request_timeout": "60s",
            "stream_idle_timeout": "300s",
            "server_header_transformation": "PASS_THROUGH",
            "route_config": {
                "name": EGRESS,
                "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    // What is held of a request. The buffer of the connection bounds one read, and so by how much a
                    // request may exceed that before the filter sees it.
                    "request_body_buffer_limit": self.body_limit(),
                    "routes": self.routes(),
                }],
            },
            "http_filters": self.http_filters(),
        });
        let mut chain = json!({
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        });
        if let (Some(tls), Some(fields)) = (&self.tls, chain.as_object_mut()) {
            fields.insert("transport_socket".to_owned(), downstream_tls(tls));
            fields.insert("transport_socket_connect_timeout".to_owned(), json!("10s"));
        }
        json!({
            "name": "egress",
            "address": socket_address(self.listen),
            "per_connection_buffer_limit_bytes": READ,
            "filter_chains": [chain],
        })
    }

    /// What Envoy lets filters see beyond requests, where the policy has it at all.
    fn upgrades(&self) -> Value {
        let policy = self.configuration.policy();
        let all = [("CONNECT", policy.takes_tunnels()), ("websocket", policy.takes_upgrades())];
        all.into_iter().filter(|(_, taken)| *taken).map(|(word, _)| json!({"upgrade_type": word})).collect()
    }

    /// A way out is there only for a request that the filter let go by it. Envoy leaves a Wasm filter out of the chain when
    /// its VM could not be cloned, started or configured on a worker, whatever `failure_policy` says.
    fn routes(&self) -> Value {
        let policy = self.configuration.policy();
        let life = format!("{}s", policy.longest_life().unwrap_or(0).div_ceil(1_000));
        let released = |exit: Exit| json!([{"key": "wasm.exeat.released", "string_match": {"exact": exit.word()}}]);
        let mut routes = Vec::new();
        if policy.takes_tunnels() {
            routes.push(json!({
                "match": {"connect_matcher": {}, "filter_state": released(Exit::Tunnel)},
                "route": {
                    "cluster": cluster_of(Exit::Tunnel),
                    "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
                    "timeout": "0s",
                    "idle_timeout": "300s",
                    // The filter ends each at its own time, with the next byte; this ends those that are silent.
                    "max_stream_duration": {"max_stream_duration": life},
                },
            }));
            routes.push(json!({"match": {"connect_matcher": {}}, "route": {"cluster": NOWHERE}}));
        }
        if policy.takes_upgrades() {
            for exit in [Exit::HttpsUpgrade, Exit::HttpUpgrade] {
                routes.push(json!({
                    "match": {"prefix": "/", "filter_state": released(exit)},
                    "route": {
                        "cluster": cluster_of(exit),
                        "timeout": "0s",
                        "idle_timeout": "300s",
                        "max_stream_duration": {"max_stream_duration": life},
                    },
                }));
            }
        }
        for exit in [Exit::Https, Exit::Http] {
            routes.push(json!({
                "match": {"prefix": "/", "filter_state": released(exit)},
                "route": {"cluster": cluster_of(exit), "timeout": "300s", "idle_timeout": "300s"},
            }));
        }
        // A route like the others, for what Envoy holds of a body it takes from the first that fits.
        routes.push(json!({"match": {"prefix": "/"}, "route": {"cluster": NOWHERE}}));
        Value::Array(routes)
    }

    fn http_filters(&self) -> Value {
        let before = [self.exeat_filter()].into_iter().chain(self.injectors());
        before.chain([forward_proxy_filter(), router()]).collect()
    }

    fn exeat_filter(&self) -> Value {
        self.module_filter("exeat", self.plugin)
    }

    /// Environment variables that the module reads. Filter and guards get the same: they share a VM.
    fn module_variables(&self) -> Value {
        let gateway = self.configuration.gateway();
        let names = std::iter::once(gateway.key_env()).chain(gateway.collector().token_env.as_deref());
        names.map(Value::from).collect()
    }

    /// The module in one of its roles. All of one gateway share a VM on each worker: what the filter lets go is then known
    /// to the guard.
    pub(super) fn module_filter(&self, name: &str, configuration: &str) -> Value {
        json!({
            "name": "envoy.filters.http.wasm",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": name,
                    "root_id": name,
                    // Without it the head could only go on before the body is judged.
                    "allow_on_headers_stop_iteration": true,
                    // A VM that died is built again on a later request; until then requests are refused.
                    "failure_policy": "FAIL_RELOAD",
                    "vm_config": {
                        "vm_id": self.vm_id,
                        "runtime": "envoy.wasm.runtime.v8",
                        "environment_variables": {"host_env_keys": self.module_variables()},
                        "code": {"local": {"filename": self.module}},
                    },
                    "configuration": {
                        "@type": "type.googleapis.com/google.protobuf.StringValue",
                        "value": configuration,
                    },
                },
            },
        })
    }

    /// One line of JSON a request. The checkpoint in it is the second place of DESIGN section 6: a collector that drops
    /// the end of a log is found out by it. Path and query are left out: they are in the evidence, under its protection.
    fn access_log(&self) -> Value {
        let format = json!({
            "json_format": {
                "time": "%START_TIME%",
                "decision": "%FILTER_STATE(wasm.exeat.decision:PLAIN)%",
                "checkpoint": "%FILTER_STATE(wasm.exeat.checkpoint:PLAIN)%",
                "source": "%DOWNSTREAM_REMOTE_ADDRESS%",
                "method": "%REQ(:METHOD)%",
                "authority": "%REQ(:AUTHORITY)%",
                "protocol": "%PROTOCOL%",
                "status": "%RESPONSE_CODE%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "flags": "%RESPONSE_FLAGS%",
                "received": "%BYTES_RECEIVED%",
                "sent": "%BYTES_SENT%",
                "duration": "%DURATION%",
                "upstream": "%UPSTREAM_REMOTE_ADDRESS%",
            },
        });
        match self.access_log {
            Some(path) => json!({
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": path,
                    "log_format": format,
                },
            }),
            None => json!({
                "name": "envoy.access_loggers.stdout",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                    "log_format": format,
                },
            }),
        }
    }
}

/// The filter takes the SPIFFE id of a certificate at its word, so a certificate that nobody vouches for must not get in.
fn downstream_tls(tls: &ListenerTls<'_>) -> Value {
    let mut common = json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificates": [{"certificate_chain": {"filename": tls.certificate}, "private_key": {"filename": tls.key}}],
    });
    if let (Some(ca), Some(fields)) = (tls.client_ca, common.as_object_mut()) {
        fields.insert("validation_context".to_owned(), json!({"trusted_ca": {"filename": ca}}));
    }
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": tls.client_ca.is_some(),
            "common_tls_context": common,
        },
    })
}

fn forward_proxy_filter() -> Value {
    json!({
        "name": "envoy.filters.http.dynamic_forward_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
            "sub_cluster_config": {"cluster_init_timeout": "5s"},
            // The filter says in which spelling a name is dialled that two ways out lead to.
            "allow_dynamic_host_from_filter_state": true,
        },
    })
}

fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            // Upstreams learn nothing of the gateway.
            "suppress_envoy_headers": true,
        },
    })
}
