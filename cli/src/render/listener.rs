//! The listener: a forward proxy whose every request meets the filter.

use super::envoy::{Settings, socket_address};
use super::upstream::EGRESS;
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
            "http2_protocol_options": {"max_concurrent_streams": 100},
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
                    "routes": [judged(), unjudged()],
                }],
            },
            "http_filters": [self.exeat_filter(), forward_proxy_filter(), router()],
        });
        json!({
            "name": "egress",
            "address": socket_address(self.listen),
            "per_connection_buffer_limit_bytes": self.buffer_limit(),
            "filter_chains": [{
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
            }],
        })
    }

    fn exeat_filter(&self) -> Value {
        json!({
            "name": "envoy.filters.http.wasm",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": "exeat",
                    "root_id": "exeat",
                    // Without it the head could only go on before the body is judged.
                    "allow_on_headers_stop_iteration": true,
                    // A VM that died is built again on a later request; until then requests are refused.
                    "failure_policy": "FAIL_RELOAD",
                    "vm_config": {
                        "vm_id": self.vm_id,
                        "runtime": "envoy.wasm.runtime.v8",
                        "environment_variables": {"host_env_keys": [self.configuration.gateway().key_env()]},
                        "code": {"local": {"filename": self.module}},
                    },
                    "configuration": {
                        "@type": "type.googleapis.com/google.protobuf.StringValue",
                        "value": self.plugin,
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

/// The way out, for requests that carry a decision. A client cannot set filter state.
fn judged() -> Value {
    json!({
        "match": {
            "prefix": "/",
            "filter_state": [{"key": "wasm.exeat.decision", "string_match": {"safe_regex": {"regex": "[0-9a-f]{32}"}}}],
        },
        "route": {"cluster": EGRESS, "timeout": "300s", "idle_timeout": "300s"},
    })
}

/// Everything else. Where a worker could not take a configuration that Envoy had accepted, Envoy sends its requests past the
/// filter, whatever `failure_policy` says (envoy #43751): they must not find a way out.
fn unjudged() -> Value {
    json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 503, "body": {"inline_string": "The gateway did not judge this request; its log says why.\n"}},
    })
}

fn forward_proxy_filter() -> Value {
    json!({
        "name": "envoy.filters.http.dynamic_forward_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
            "sub_cluster_config": {"cluster_init_timeout": "5s"},
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
