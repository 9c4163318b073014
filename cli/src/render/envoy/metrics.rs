//! A listener for who measures: statistics and readiness, and nothing else of the administration, whose other paths end the
//! gateway or tell its configuration.

use super::bootstrap::{READ, Settings, socket_address};
use serde_json::{Value, json};

/// The administration, as a cluster.
pub(super) const ADMIN: &str = "exeat-admin";

/// What may be asked of it.
const PATHS: [&str; 2] = ["/stats/prometheus", "/ready"];

/// Where a relay's metrics are, which listens on loopback alone.
const RELAY: &str = "/relay/metrics";

impl Settings<'_> {
    /// The administration, where somebody may ask it by [`Settings::metrics`].
    pub(super) fn admin_cluster(&self) -> Option<Value> {
        self.metrics.map(|_| {
            let endpoint = json!({"endpoint": {"address": self.admin.address()}});
            json!({
                "name": ADMIN,
                "type": "STATIC",
                "connect_timeout": "1s",
                "load_assignment": {"cluster_name": ADMIN, "endpoints": [{"lb_endpoints": [endpoint]}]},
            })
        })
    }

    /// The listener.
    pub(super) fn metrics_listener(&self) -> Option<Value> {
        let address = self.metrics?;
        let get = json!([{"name": ":method", "string_match": {"exact": "GET"}}]);
        let to = |path: &str, route: Value| json!({"match": {"path": path, "headers": get}, "route": route});
        let mut routes: Vec<Value> =
            PATHS.iter().map(|path| to(path, json!({"cluster": ADMIN, "timeout": "10s"}))).collect();
        if self.collector.is_on_loopback() {
            let cluster = &self.configuration.gateway().collector().cluster;
            routes.push(to(RELAY, json!({"cluster": cluster, "timeout": "10s", "prefix_rewrite": "/metrics"})));
        }
        routes.push(json!({"match": {"prefix": "/"}, "direct_response": {"status": 404}}));
        let router = json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        });
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "metrics",
            // One reading of each path.
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",
            "common_http_protocol_options": {"idle_timeout": "60s"},
            "request_headers_timeout": "10s",
            "request_timeout": "10s",
            "route_config": {"name": "metrics", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [router],
        });
        Some(json!({
            "name": "metrics",
            "address": socket_address(address),
            "per_connection_buffer_limit_bytes": READ,
            // Clients that take every connection must not keep the operator in the dark.
            "ignore_global_conn_limit": true,
            "filter_chains": [{
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
            }],
        }))
    }
}
