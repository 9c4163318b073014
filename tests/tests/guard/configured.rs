//! Gateways that are not set up as `exeat render` does it: the guard, or the filter for want of one, lets nothing go.

use crate::agent::{
    Guards, WORKER, at_guard, clusters, gateway, gateway_with, get, let_leak, options, records_of, refused, signed,
    silent_gateway, start, told,
};
use exeat_cli::key::PrivateKey;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::silent::Silent;
use serde_json::{Value, json};

const MANAGER: &str = "/resources/0/filter_chains/0/filters/0/typed_config";

/// Hands a changed listener over.
fn relisten(real: &RealEnvoy, edit: impl FnOnce(&mut Value)) {
    let mut listener: Value = serde_saphyr::from_str(&real.rendered_listener().unwrap()).unwrap();
    edit(&mut listener);
    real.envoy.update_listeners(&listener.to_string()).unwrap();
}

fn routes(listener: &mut Value) -> &mut Value {
    listener.pointer_mut(&format!("{MANAGER}/route_config/virtual_hosts/0/routes")).unwrap()
}

#[test]
fn a_decision_is_good_for_one_request() {
    Guards::BOTH.into_iter().for_each(good_for_one_request);
}

fn good_for_one_request(guards: Guards) {
    // What is rendered allows no retries; here it does, and the upstream fails each time.
    let upstream =
        exeat_e2e::stage::upstream::Upstream::start_with(|_| exeat_e2e::stage::upstream::Reply::new(503)).unwrap();
    let port = upstream.address().port();
    let mut real = start(guards, port, upstream, |bootstrap| {
        clusters(bootstrap).for_each(|cluster| cluster["circuit_breakers"] = json!({}));
    });
    relisten(&real, |listener| {
        for route in routes(listener).as_array_mut().unwrap() {
            route["route"]["retry_policy"] = json!({"retry_on": "5xx", "num_retries": 3});
        }
    });
    let request = signed(&real, WORKER, "POST", &format!("127.0.0.1:{port}"), "/a", b"once");
    let reply = real.send(&request).unwrap();
    assert_eq!(reply.status, 403, "{}", String::from_utf8_lossy(&reply.body));
    assert_eq!(real.upstream.take().len(), 1, "what was sent again must not arrive");
    let used = |record: &Value| record["condition"] == "guard: the decision was used before";
    let records = real.wait_for_records("the refusal of the second use", |records| records.iter().any(used)).unwrap();
    assert!(records.iter().any(used));
}

#[test]
fn a_copy_of_a_request_does_not_leave() {
    Guards::BOTH.into_iter().for_each(copy_does_not_leave);
}

fn copy_does_not_leave(guards: Guards) {
    let mut real = gateway_with(guards, |_| ());
    let port = real.upstream_port();
    relisten(&real, |listener| {
        for route in routes(listener).as_array_mut().unwrap() {
            route["route"]["request_mirror_policies"] =
                json!([{"cluster": "egress-http", "disable_shadow_host_suffix_append": true}]);
        }
    });
    assert_eq!(get(&mut real, WORKER, &format!("127.0.0.1:{port}")).0, 200);
    let guarded = |record: &Value| record["condition"].as_str().is_some_and(|text| text.starts_with("guard: "));
    real.wait_for_records("the refusal of the copy", |records| records.iter().any(guarded)).unwrap();
    assert_eq!(real.upstream.take().len(), 1);
}

/// A chain without the filter, routes that ask for nothing: the guard is what is left.
#[test]
fn what_no_filter_let_go_does_not_leave() {
    let mut real = gateway(|_| ());
    let port = real.upstream_port();
    relisten(&real, |listener| {
        let filters = listener.pointer_mut(&format!("{MANAGER}/http_filters")).unwrap().as_array_mut().unwrap();
        assert_eq!(filters.remove(0)["name"], "envoy.filters.http.wasm");
        let connect = json!({"upgrade_type": "CONNECT", "connect_config": {}});
        *routes(listener) = json!([
            {"match": {"connect_matcher": {}}, "route": {"cluster": "egress-tunnel", "upgrade_configs": [connect]}},
            {"match": {"prefix": "/"}, "route": {"cluster": "egress-http"}},
        ]);
    });
    for (method, body) in [("GET", &b""[..]), ("POST", b"secret"), ("CONNECT", b"")] {
        let request = signed(&real, WORKER, method, &format!("127.0.0.1:{port}"), "/a", body);
        let reply = real.send(&request).unwrap();
        assert_eq!(told(&reply), refused(), "{method}");
        let id = reply.header("exeat-decision").unwrap().to_owned();
        let is = |record: &Value| record["id"] == id.as_str();
        let records = real.wait_for_records("the refusal", |records| records.iter().any(is)).unwrap();
        let refusal = records.into_iter().find(is).unwrap();
        assert_eq!(refusal["condition"], "guard: no decision let this request go");
        assert!(refusal.get("follows").is_none() && refusal.get("agent").is_none(), "{refusal}");
    }
    let_leak();
    assert_eq!(real.arrived().unwrap().len(), 0);
}

/// Between the filter and the router somebody else says where to dial.
#[test]
fn another_port_is_not_dialled() {
    Guards::BOTH.into_iter().for_each(other_port_is_not_dialled);
}

fn other_port_is_not_dialled(guards: Guards) {
    let mut real = gateway_with(guards, |_| ());
    let silent = Silent::start().unwrap();
    let port = real.upstream_port();
    relisten(&real, |listener| {
        let filters = listener.pointer_mut(&format!("{MANAGER}/http_filters")).unwrap().as_array_mut().unwrap();
        let set = |key: &str, value: &str| json!({"object_key": key, "format_string": {"text_format_source": {"inline_string": value}}});
        let port = silent.address().port().to_string();
        let values = [set("envoy.upstream.dynamic_host", "127.0.0.1"), set("envoy.upstream.dynamic_port", &port)];
        let config = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config";
        let filter = json!({"name": "other", "typed_config": {"@type": config, "on_request_headers": values}});
        filters.insert(1, filter);
    });
    let request = signed(&real, WORKER, "POST", &format!("127.0.0.1:{port}"), "/a", b"secret");
    let reply = real.send(&request).unwrap();
    assert_eq!(told(&reply), refused());
    let expected = format!("guard: port {} would be dialled", silent.address().port());
    assert_eq!(records_of(&real, &reply).0["condition"], expected.as_str());
    let_leak();
    assert_eq!((silent.bytes(), real.arrived().unwrap().len()), (0, 0));
}

#[test]
fn what_is_changed_after_the_decision_does_not_leave() {
    Guards::BOTH.into_iter().for_each(changed_does_not_leave);
}

fn changed_does_not_leave(guards: Guards) {
    let mut real = gateway_with(guards, |_| ());
    let port = real.upstream_port();
    relisten(&real, |listener| {
        for route in routes(listener).as_array_mut().unwrap() {
            route["route"]["regex_rewrite"] = json!({"pattern": {"regex": "^/a"}, "substitution": "/admin"});
        }
    });
    let request = signed(&real, WORKER, "GET", &format!("127.0.0.1:{port}"), "/a", b"");
    let reply = real.send(&request).unwrap();
    assert_eq!(told(&reply), refused());
    assert_eq!(records_of(&real, &reply).0["condition"], "guard: the path is not the one that was judged");
    assert_eq!(real.arrived().unwrap().len(), 0);
}

/// TLS was decided, or its absence: a route that leads elsewhere ends at the guard of that way.
#[test]
fn a_request_leaves_by_the_way_that_was_chosen() {
    let mut real = gateway(|_| ());
    let port = real.upstream_port();
    relisten(&real, |listener| {
        for route in routes(listener).as_array_mut().unwrap() {
            if route["route"]["cluster"] == "egress-http" {
                route["route"]["cluster"] = json!("egress-tunnel");
            }
        }
    });
    let request = signed(&real, WORKER, "GET", &format!("127.0.0.1:{port}"), "/a", b"");
    let reply = real.send(&request).unwrap();
    assert_eq!(told(&reply), refused());
    let expected = "guard: the connection is of another kind than was chosen";
    assert_eq!(records_of(&real, &reply).0["condition"], expected);
    assert_eq!(real.arrived().unwrap().len(), 0);
}

#[test]
fn without_guards_nothing_is_let_go() {
    let (mut real, silent) = silent_gateway(|bootstrap| {
        for cluster in clusters(bootstrap) {
            assert!(options(cluster).as_object_mut().unwrap().remove("http_filters").is_some());
        }
    });
    let port = silent.address().port();
    assert_eq!(get(&mut real, WORKER, &format!("127.0.0.1:{port}")), (503, "internal-error".to_owned()));
    let said = "no guard of this vm_id stands in the way out";
    assert!(real.envoy.log().contains(said), "{}", real.envoy.log());
    let_leak();
    assert_eq!(silent.bytes(), 0);
}

/// A guard with another `vm_id` knows nothing of the filter's decisions, and the filter nothing of it.
#[test]
fn a_guard_of_another_vm_id_is_none() {
    let mut real = gateway(|bootstrap| {
        for cluster in clusters(bootstrap) {
            *at_guard(cluster, "vm_config/vm_id") = json!("other");
        }
    });
    let port = real.upstream_port();
    assert_eq!(get(&mut real, WORKER, &format!("127.0.0.1:{port}")), (503, "internal-error".to_owned()));
    assert_eq!(real.arrived().unwrap().len(), 0);
}

/// Another key is another gateway's: what one seals the other does not open.
#[test]
fn a_guard_with_another_key_is_none() {
    let mut real = gateway_with(Guards::Elsewhere, |bootstrap| {
        for cluster in clusters(bootstrap) {
            *at_guard(cluster, "vm_config/environment_variables") = json!({
                "key_values": {"EXEAT_GATEWAY_KEY": PrivateKey::generate().unwrap().to_base64()},
            });
        }
    });
    let port = real.upstream_port();
    let (status, _) = get(&mut real, WORKER, &format!("127.0.0.1:{port}"));
    assert!(status == 503, "{status}");
    assert_eq!(real.arrived().unwrap().len(), 0);
}

/// One worker's guard is there, the cluster that a route leads to has none: it shows at the answer, which is not passed on.
#[test]
fn an_answer_to_what_left_unguarded_is_not_passed_on() {
    Guards::BOTH.into_iter().for_each(unguarded_is_not_passed_on);
}

fn unguarded_is_not_passed_on(guards: Guards) {
    let mut real = gateway_with(guards, |bootstrap| {
        let unguarded = clusters(bootstrap).find(|cluster| cluster["name"] == "egress-http").unwrap();
        let mut copy = unguarded.clone();
        copy["name"] = json!("unguarded");
        options(&mut copy).as_object_mut().unwrap().remove("http_filters");
        bootstrap.pointer_mut("/static_resources/clusters").unwrap().as_array_mut().unwrap().push(copy);
    });
    let port = real.upstream_port();
    relisten(&real, |listener| {
        for route in routes(listener).as_array_mut().unwrap() {
            route["route"]["cluster"] = json!("unguarded");
        }
    });
    assert_eq!(get(&mut real, WORKER, &format!("127.0.0.1:{port}")), (503, "internal-error".to_owned()));
    assert!(real.envoy.log().contains("a request left unguarded"), "{}", real.envoy.log());
    // What guards of other VMs say is believed no longer.
    if guards == Guards::Elsewhere {
        real.arrived().unwrap();
        assert_eq!(get(&mut real, WORKER, &format!("127.0.0.1:{port}")), (503, "internal-error".to_owned()));
        assert_eq!(real.arrived().unwrap().len(), 0);
    }
}
