//! What bounds the memory of a gateway: agents choose how many connections and streams they open, and how much of a body they
//! let it hold.

use serde_json::{Value, json};

/// Connections at most.
const MAX_CONNECTIONS: u64 = 10_000;

/// Envoy's overload manager. The heap is that of Envoy itself: bodies that are held, connections, streams. The memory of the
/// filter's VMs is not in it; that is bounded by the policy's size and by the filter's own limits.
pub(super) fn manager(max_heap: u64) -> Value {
    json!({
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": MAX_CONNECTIONS,
                },
            },
            {
                "name": HEAP,
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": max_heap,
                },
            },
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": [{"name": HEAP, "threshold": {"value": 0.9}}]},
            // Nothing gets past the filter by this: a request that is not accepted is answered 503 before any filter.
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": [{"name": HEAP, "threshold": {"value": 0.95}}]},
        ],
    })
}

const HEAP: &str = "envoy.resource_monitors.fixed_heap";
