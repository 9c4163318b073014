//! Clusters: the way out, and the way to the collector.

use super::bootstrap::{READ, Settings};
use anyhow::{Context, bail};
use exeat_engine::destination::{CanonicalHost, Exit};
use serde_json::{Value, json};

/// Name of listener and routes.
pub const EGRESS: &str = "egress";

/// A cluster that requests go out by: the way out is in its name, and the guard in it takes no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// Name of the cluster.
    pub cluster: &'static str,
    /// What goes out by it.
    pub exits: &'static [Exit],
    /// Whether Envoy speaks TLS.
    tls: bool,
    /// Whether the upstream may choose HTTP/2.
    http2: bool,
}

/// All of them. Tunnels bring their own TLS; an upstream that chooses HTTP/2 cannot be upgraded.
pub const WAYS_OUT: [WayOut; 4] = [
    WayOut { cluster: "egress-https", exits: &[Exit::Https], tls: true, http2: true },
    WayOut { cluster: "egress-http", exits: &[Exit::Http, Exit::HttpUpgrade], tls: false, http2: false },
    WayOut { cluster: "egress-https-upgrade", exits: &[Exit::HttpsUpgrade], tls: true, http2: false },
    WayOut { cluster: "egress-tunnel", exits: &[Exit::Tunnel], tls: false, http2: false },
];

/// The cluster that this way out leads by.
pub(super) fn cluster_of(exit: Exit) -> &'static str {
    WAYS_OUT.iter().find(|way| way.exits.contains(&exit)).map_or(NOWHERE, |way| way.cluster)
}

/// The cluster of requests that were not judged. It has no address.
pub const NOWHERE: &str = "nowhere";

/// Names that are known at a time. Beyond them Envoy answers 503 to requests for others until one of these was idle for
/// [`NAME_IDLE`], so that an agent under a wildcard can lock the others out for that long and no longer.
const MAX_NAMES: u64 = 4096;

/// See [`MAX_NAMES`]. Envoy's own is five minutes.
const NAME_IDLE: &str = "60s";

/// Where evidence goes.
#[derive(Clone, Debug)]
pub struct CollectorAddress {
    host: CanonicalHost,
    port: u16,
    ca: Option<String>,
    /// Chain and key.
    certificate: Option<(String, String)>,
}

impl CollectorAddress {
    /// Reads `HOST:PORT`.
    ///
    /// # Errors
    /// A host or port that cannot be read; a place beyond loopback without TLS.
    pub fn parse(text: &str, ca: Option<String>) -> anyhow::Result<Self> {
        let read = || {
            let (host, port) = text.rsplit_once(':')?;
            Some((CanonicalHost::parse(host).ok()?, port.parse().ok().filter(|port| *port > 0)?))
        };
        let (host, port) =
            read().with_context(|| format!("--collector {text:?} is not HOST:PORT, such as 127.0.0.1:9470"))?;
        let loopback = match host.address() {
            Some(address) => address.is_loopback(),
            None => host.name().is_some_and(|name| name.as_str() == "localhost"),
        };
        if ca.is_none() && !loopback {
            bail!(
                "--collector {text} is not on loopback, and openings of evidence name people; give --collector-ca, \
                 the certificate authorities of its TLS certificate"
            );
        }
        Ok(Self { host, port, ca, certificate: None })
    }

    /// With what the gateway shows to a collector that asks for a certificate: chain and key, PEM files where Envoy finds them.
    #[must_use]
    pub fn showing(self, certificate: Option<(String, String)>) -> Self {
        Self { certificate, ..self }
    }
}

impl Settings<'_> {
    /// Every name is resolved by Envoy itself, at the time of the request.
    pub(super) fn egress_cluster(&self, way: &WayOut) -> Value {
        let tls = way.tls;
        let mut cluster_type = json!({
            "@type": "type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
            // Each address of a name is a host of its own: what is checked is then what is dialled.
            "sub_clusters_config": {"lb_policy": "ROUND_ROBIN", "max_sub_clusters": MAX_NAMES, "sub_cluster_ttl": NAME_IDLE},
        });
        let mut protocol = match way.http2 {
            true => json!({"auto_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}),
            false => json!({"explicit_http_config": {"http_protocol_options": {}}}),
        };
        if tls && let Some(fields) = protocol.as_object_mut() {
            // The certificate must be of the authority that was judged.
            let checks = json!({"auto_sni": true, "auto_san_validation": true});
            fields.insert("upstream_http_protocol_options".to_owned(), checks);
        }
        if !tls && let Some(fields) = cluster_type.as_object_mut() {
            fields.insert("allow_insecure_cluster_options".to_owned(), json!(true));
        }
        let mut cluster = json!({
            "name": way.cluster,
            "connect_timeout": "5s",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {"name": "envoy.clusters.dynamic_forward_proxy", "typed_config": cluster_type},
            "dns_lookup_family": "V4_PREFERRED",
            "typed_dns_resolver_config": self.resolver(),
            "per_connection_buffer_limit_bytes": READ,
            // Nothing is sent twice: the decision was about one request.
            "circuit_breakers": {"thresholds": [
                {"priority": "DEFAULT", "max_retries": 0},
                {"priority": "HIGH", "max_retries": 0},
            ]},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": self.protocol_options(protocol, way),
            },
        });
        if tls && let Some(fields) = cluster.as_object_mut() {
            fields.insert("transport_socket".to_owned(), tls_socket(self.ca, None, None));
        }
        cluster
    }

    /// With the guard: each address that was chosen meets it before a byte of the request leaves.
    fn protocol_options(&self, mut options: Value, way: &WayOut) -> Value {
        if let Some(fields) = options.as_object_mut() {
            let of = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
            fields.insert("@type".to_owned(), json!(of));
            fields.insert("common_http_protocol_options".to_owned(), json!({"idle_timeout": "60s"}));
            let codec = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
            let codec = json!({"name": "envoy.filters.http.upstream_codec", "typed_config": {"@type": codec}});
            let words: Vec<_> = way.exits.iter().map(|exit| exit.word()).collect();
            let configuration = json!({"role": "guard", "gateway": self.gateway, "exits": words});
            let name = format!("exeat-guard-{}", way.cluster);
            fields.insert(
                "http_filters".to_owned(),
                json!([self.module_filter(&name, &configuration.to_string()), codec]),
            );
        }
        options
    }

    fn resolver(&self) -> Value {
        let mut config = json!({
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            // A search domain would make of an unknown name another one.
            "dns_resolver_options": {"no_default_search_domain": true},
            "filter_unroutable_families": true,
            // Answers over a new port from time to time: they are harder to forge.
            "udp_max_queries": 100,
        });
        if !self.resolvers.is_empty()
            && let Some(fields) = config.as_object_mut()
        {
            let resolvers = self.resolvers.iter().map(|address| super::bootstrap::socket_address(*address));
            fields.insert("resolvers".to_owned(), resolvers.collect());
        }
        json!({"name": "envoy.network.dns_resolver.cares", "typed_config": config})
    }

    /// Answers 503 to everything.
    pub(super) fn nowhere_cluster(&self) -> Value {
        json!({"name": NOWHERE, "type": "STATIC", "connect_timeout": "1s"})
    }

    /// The collector, under the name that the gateway document gives it.
    pub(super) fn collector_cluster(&self) -> Value {
        let (name, collector) = (&self.configuration.gateway().collector().cluster, &self.collector);
        // Envoy writes IPv6 addresses without brackets.
        let host = collector.host.to_string();
        let host = host.trim_matches(['[', ']']);
        let address = json!({"socket_address": {"address": host, "port_value": collector.port}});
        let mut cluster = json!({
            "name": name,
            "type": if collector.host.address().is_some() { "STATIC" } else { "STRICT_DNS" },
            "connect_timeout": "2s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        });
        if let (Some(ca), Some(fields)) = (&collector.ca, cluster.as_object_mut()) {
            let socket = tls_socket(ca, Some(host), collector.certificate.as_ref());
            fields.insert("transport_socket".to_owned(), socket);
        }
        cluster
    }
}

/// TLS that checks the certificate: for one host, or by what auto_san_validation takes from the request.
fn tls_socket(ca: &str, host: Option<&str>, own: Option<&(String, String)>) -> Value {
    let mut validation = json!({"trusted_ca": {"filename": ca}});
    if let (Some(host), Some(fields)) = (host, validation.as_object_mut()) {
        let kind = if host.parse::<std::net::IpAddr>().is_ok() { "IP_ADDRESS" } else { "DNS" };
        let names = json!([{"san_type": kind, "matcher": {"exact": host}}]);
        fields.insert("match_typed_subject_alt_names".to_owned(), names);
    }
    let mut common = json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "validation_context": validation,
    });
    if let (Some((certificate, key)), Some(fields)) = (own, common.as_object_mut()) {
        let pair = json!([{"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}]);
        fields.insert("tls_certificates".to_owned(), pair);
    }
    let mut context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    });
    // RFC 6066 section 3: an address is no name for SNI.
    let name = host.filter(|host| host.parse::<std::net::IpAddr>().is_err());
    if let (Some(host), Some(fields)) = (name, context.as_object_mut()) {
        fields.insert("sni".to_owned(), json!(host));
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}
