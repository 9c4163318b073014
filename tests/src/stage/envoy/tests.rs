//! On the real Envoy, as a forward proxy without the module.

use super::*;
use crate::stage::client::{Connection, Http2};
use crate::stage::dns::Dns;
use crate::stage::silent::Silent;
use crate::stage::upstream::{Progress, Reply, Upstream};

const SOON: Duration = Duration::from_secs(10);

/// A forward proxy over `dns`: HTTP/1.1 and HTTP/2 in, HTTP/1.1 out, to the port that the authority names.
fn clusters(dns: &Dns) -> serde_json::Value {
    serde_json::json!([{
        "name": "egress",
        "connect_timeout": "2s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.dynamic_forward_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
                "allow_insecure_cluster_options": true,
                "sub_clusters_config": {"lb_policy": "ROUND_ROBIN", "max_sub_clusters": 1000},
            },
        },
        "dns_lookup_family": "V4_ONLY",
        "typed_dns_resolver_config": {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{"socket_address": {"address": dns.address().ip(), "port_value": dns.address().port()}}],
                "dns_resolver_options": {"no_default_search_domain": true},
            },
        },
    }])
}

/// A listener that adds `x-stage: <mark>` to what it forwards.
fn listener(port: u16, mark: &str) -> serde_json::Value {
    serde_json::json!({
        "name": "egress",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "egress",
                "http_protocol_options": {"allow_absolute_url": true},
                "route_config": {"name": "egress", "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "egress"}}],
                    "request_headers_to_add": [{"header": {"key": "x-stage", "value": mark}}],
                }]},
                "http_filters": [
                    {
                        "name": "envoy.filters.http.dynamic_forward_proxy",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
                            "sub_cluster_config": {"cluster_init_timeout": "5s"},
                        },
                    },
                    {
                        "name": "envoy.filters.http.router",
                        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                    },
                ],
            },
        }]}],
    })
}

fn forward_proxy(dns: &Dns, port: u16) -> Setup {
    let bootstrap = serde_json::json!({
        "static_resources": {"clusters": clusters(dns), "listeners": [listener(port, "static")]},
    });
    Setup::new(bootstrap.to_string()).listener(port)
}

fn lds(listener: serde_json::Value) -> String {
    let mut listener = listener;
    listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
    serde_json::json!({"resources": [listener]}).to_string()
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[test]
fn requests_of_every_form_reach_the_upstream() {
    let (dns, upstream, port) = (Dns::start().unwrap(), Upstream::start().unwrap(), ports::free().unwrap());
    dns.set("crm.acme.example", [upstream.address().ip()]);
    let envoy = forward_proxy(&dns, port).concurrency(2).start().unwrap();
    let authority = format!("crm.acme.example:{}", upstream.address().port());

    let absolute = Request::new("GET", format!("http://{authority}/absolute?q=1")).header("host", &authority);
    assert_eq!(client::send(loopback(port), &absolute).unwrap().status, 200);
    let origin = Request::new("POST", "/origin").header("Host", &authority).header("x-raw", b"\x80\xff").body("hello");
    let response = client::send(loopback(port), &origin).unwrap();
    assert_eq!((response.status, &response.json().unwrap()["path"]), (200, &"/origin".into()));
    let request = http::Request::get(format!("http://{authority}/h2")).body(Vec::new()).unwrap();
    assert_eq!(Http2::connect(loopback(port)).unwrap().send(request).unwrap().status, 200);

    let [absolute, origin, h2] = upstream.wait_for(3, SOON).unwrap().try_into().unwrap();
    assert_eq!((absolute.method.as_str(), absolute.path.as_str()), ("GET", "/absolute?q=1"));
    assert_eq!(
        (origin.method.as_str(), origin.path.as_str(), origin.body.as_slice()),
        ("POST", "/origin", b"hello".as_slice())
    );
    assert_eq!(origin.header("x-raw"), Some(b"\x80\xff".as_slice()));
    assert_eq!((h2.version, h2.path.as_str()), (http::Version::HTTP_11, "/h2"));
    for request in [absolute, origin, h2] {
        assert_eq!(request.authority.as_deref(), Some(authority.as_str()));
        assert_eq!(request.header("x-stage"), Some(b"static".as_slice()));
        assert_eq!(request.progress, Progress::Complete);
    }
    assert!(
        dns.queries().iter().all(|query| query.name == "crm.acme.example" && query.kind == "A"),
        "{:?}",
        dns.queries()
    );

    assert_eq!(envoy.wait_for_stat("http.egress.downstream_rq_2xx", 3, SOON).unwrap(), 3);
    let error =
        envoy.wait_for_stat("http.egress.downstream_rq_5xx", 1, Duration::from_millis(50)).unwrap_err().to_string();
    assert!(error.contains("no http.egress.downstream_rq_5xx of at least 1 (it is 0)"), "{error}");
    let log = envoy.stop().unwrap();
    assert!(log.contains("caught ENVOY_SIGTERM"), "{log}");
}

#[test]
fn an_upstream_that_breaks_off_shows_at_the_client() {
    let (dns, port) = (Dns::start().unwrap(), ports::free().unwrap());
    let upstream = Upstream::start_with(|_| Reply::new(200).chunk(Duration::ZERO, "part").then_break_off()).unwrap();
    dns.set_others([upstream.address().ip()]);
    let _envoy = forward_proxy(&dns, port).start().unwrap();
    let host = format!("any.example:{}", upstream.address().port());
    let response = client::send(loopback(port), &Request::new("GET", "/").header("host", &host)).unwrap();
    assert_eq!((response.text().as_str(), response.truncated), ("part", true));
}

#[test]
fn names_without_an_address_reach_nobody() {
    let (dns, silent, port) = (Dns::start().unwrap(), Silent::start().unwrap(), ports::free().unwrap());
    let _envoy = forward_proxy(&dns, port).start().unwrap();
    let host = format!("nowhere.example:{}", silent.address().port());
    let response = client::send(loopback(port), &Request::new("GET", "/").header("host", &host)).unwrap();
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!((silent.connections(), silent.bytes()), (0, 0));
    assert_eq!(dns.queries().first().map(|query| query.name.as_str()), Some("nowhere.example"));
}

#[test]
fn listeners_are_replaced_while_it_runs() {
    let (dns, upstream, port) = (Dns::start().unwrap(), Upstream::start().unwrap(), ports::free().unwrap());
    dns.set_others([upstream.address().ip()]);
    let bootstrap = serde_json::json!({"static_resources": {"clusters": clusters(&dns)}}).to_string();
    let envoy = Setup::new(bootstrap).listeners(lds(listener(port, "first"))).listener(port).start().unwrap();
    let host = format!("any.example:{}", upstream.address().port());
    let request = Request::new("GET", "/").header("host", &host);
    let mark = |connection: &mut Connection| {
        assert_eq!(connection.send(&request).unwrap().status, 200);
        String::from_utf8(upstream.take()[0].header("x-stage").unwrap().to_vec()).unwrap()
    };
    let mut old = Connection::open(loopback(port)).unwrap();
    assert_eq!(mark(&mut old), "first");

    envoy.update_listeners(&lds(listener(port, "second"))).unwrap();
    assert_eq!(mark(&mut Connection::open(loopback(port)).unwrap()), "second");

    let mut broken = listener(port, "third");
    broken["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"] = "".into();
    let error = envoy.update_listeners(&lds(broken)).unwrap_err();
    assert!(matches!(&error, Error::Rejected(log) if log.contains("StatPrefix")), "{error}");
    assert_eq!(mark(&mut Connection::open(loopback(port)).unwrap()), "second");

    // The same text is no change, and yet an answer comes.
    envoy.update_listeners(&lds(listener(port, "second"))).unwrap();
}

#[test]
fn a_refused_configuration_shows_envoys_words() {
    let (dns, port) = (Dns::start().unwrap(), ports::free().unwrap());
    let bootstrap = serde_json::json!({
        "static_resources": {"clusters": clusters(&dns), "listeners": [{"name": "l", "no_such_field": 1}]},
    });
    let error = Setup::new(bootstrap.to_string()).listener(port).start().unwrap_err();
    assert!(matches!(error, Error::Exited { .. }), "{error}");
    // Protobuf varies the spaces in its messages, so that nobody relies on them.
    let words = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("no such field: 'no_such_field') has unknown fields"), "{error}");
}

#[test]
fn a_listener_that_never_comes_is_an_error_with_the_log() {
    let (dns, port, other) = (Dns::start().unwrap(), ports::free().unwrap(), ports::free().unwrap());
    let envoy = forward_proxy(&dns, port).log_level("info,main:info").start().unwrap();
    let nobody = || TcpStream::connect(loopback(other)).ok();
    let error = envoy.process().wait_until("connection", Duration::from_millis(100), nobody).unwrap_err().to_string();
    assert!(
        error.contains("Envoy: no connection within 100ms") && error.contains("starting main dispatch loop"),
        "{error}"
    );
}

#[test]
fn several_run_side_by_side_and_end_with_their_handles() {
    let dns = Dns::start().unwrap();
    let ports = [ports::free().unwrap(), ports::free().unwrap()];
    let running = ports.map(|port| forward_proxy(&dns, port).start().unwrap());
    for envoy in &running {
        assert_eq!(envoy.stats().unwrap().value("listener_manager.total_listeners_active"), 1);
    }
    drop(running);
    for port in ports {
        assert!(TcpStream::connect(loopback(port)).is_err(), "{port} is still open");
    }
}

#[test]
fn the_environment_reaches_it() {
    let (dns, upstream, port) = (Dns::start().unwrap(), Upstream::start().unwrap(), ports::free().unwrap());
    dns.set_others([upstream.address().ip()]);
    let bootstrap = serde_json::json!({
        "static_resources": {"clusters": clusters(&dns), "listeners": [listener(port, "%ENVIRONMENT(STAGE_MARK)%")]},
    });
    let _envoy = Setup::new(bootstrap.to_string()).listener(port).env("STAGE_MARK", "from outside").start().unwrap();
    let host = format!("any.example:{}", upstream.address().port());
    client::send(loopback(port), &Request::new("GET", "/").header("host", &host)).unwrap();
    assert_eq!(upstream.requests()[0].header("x-stage"), Some(b"from outside".as_slice()));
}
