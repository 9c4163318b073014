//! The gateway in Istio's mesh: its listener asks for certificates of the mesh, its AuthorizationPolicy stands before the
//! manager that the EnvoyFilter puts in, and what the certificate says is what signers are held to.

use crate::istio::{apply, listener, of_kind, tcp_proxy};
use crate::scene::{documents, module, objects, signed};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{Around, Places, RealEnvoy, framed};
use exeat_e2e::stage::client;
use exeat_e2e::stage::tls::{Authority, Tunnel};
use exeat_e2e::stage::upstream::Upstream;
use serde_json::{Value, json};

const SIGNER: &str = "spiffe://cluster.local/ns/agents/sa/signer";

/// Files with the gateway's certificate and with the mesh's authority, beside its documents.
const CERTIFICATE: &str = "mesh";
const AUTHORITY: &str = "mesh-ca.crt";

/// What Istio makes of an AuthorizationPolicy for bytes (pilot/pkg/security/authz/builder).
fn authorization(policy: &Value) -> Value {
    let spec = &policy["spec"];
    assert_eq!(spec["action"], "ALLOW");
    let rule = &spec["rules"][0];
    let namespaces = rule["from"][0]["source"]["namespaces"].as_array().unwrap();
    let principal = |namespace: &Value| {
        let regex = format!(".*/ns/{}/.*", namespace.as_str().unwrap());
        json!({"authenticated": {"principal_name": {"safe_regex": {"regex": regex}}}})
    };
    let port: u16 = rule["to"][0]["operation"]["ports"][0].as_str().unwrap().parse().unwrap();
    json!({
        "name": "envoy.filters.network.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
            "stat_prefix": "tcp.",
            "rules": {
                "action": "ALLOW",
                "policies": {"rule": {
                    "permissions": [{"destination_port": port}],
                    "principals": namespaces.iter().map(principal).collect::<Vec<_>>(),
                }},
            },
        },
    })
}

fn platform(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let all = objects("istio", gateway, places, &["--module", &module()])?;
    let server = &of_kind(&all, "Gateway")["spec"]["servers"][0];
    assert_eq!((&server["port"]["protocol"], &server["tls"]["mode"]), (&json!("TLS"), &json!("ISTIO_MUTUAL")));
    let mut listener = listener(places, &tcp_proxy(&all));
    let filters = listener["filter_chains"][0]["filters"].as_array_mut().unwrap();
    filters.insert(0, authorization(of_kind(&all, "AuthorizationPolicy")));
    let clusters = apply(&all, places, &mut listener);
    let file = |name: &str| json!({"filename": gateway.file(name)});
    listener["filter_chains"][0]["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": {
                "alpn_protocols": ["istio-peer-exchange", "istio"],
                "tls_certificates": [{
                    "certificate_chain": file(&format!("{CERTIFICATE}.crt")),
                    "private_key": file(&format!("{CERTIFICATE}.key")),
                }],
                "validation_context": {"trusted_ca": file(AUTHORITY)},
            },
        },
    });
    Ok(documents(&clusters, listener))
}

#[test]
fn agents_come_in_with_the_identity_of_the_mesh() {
    let (upstream, mesh) = (Upstream::start().unwrap(), Authority::new("mesh").unwrap());
    let granted = "provenance: [user, system, internal, third-party, unknown]";
    let bound = format!("{granted}\n    spiffe: \"{SIGNER}\"");
    let gateway = Gateway::prepare_with("main", upstream.address().port(), &[(granted, &bound)]).unwrap();
    mesh.server().unwrap().write(&gateway.file(""), CERTIFICATE).unwrap();
    std::fs::write(gateway.file(AUTHORITY), mesh.pem()).unwrap();
    let around = Around { platform: Some(platform), ..Around::default() };
    let real = RealEnvoy::start_amid(gateway, upstream, 1, around, |_| ()).unwrap();
    let ask = |identity: &str| {
        let certificate = mesh.client(&[identity]).unwrap();
        let tunnel = Tunnel::open(real.listener, &mesh, Some(&certificate)).unwrap();
        let reply = client::send(tunnel.address(), &framed(&signed(&real, "GET", "/v1/orders/7", b"")));
        reply.map(|reply| (reply.status, reply.json().unwrap_or_default()["reason"].clone()))
    };
    assert_eq!(ask(SIGNER).unwrap(), (200, Value::Null));
    assert_eq!(real.upstream.take().len(), 1);
    // Of the same namespace, but not who the policy knows the key of.
    assert_eq!(ask("spiffe://cluster.local/ns/agents/sa/agent").unwrap(), (403, json!("grant-denied")));
    // Of another namespace: not a byte of it is read.
    for stranger in ["spiffe://cluster.local/ns/others/sa/signer", "spiffe://cluster.local/ns/agents-2/sa/signer"] {
        assert!(ask(stranger).is_err(), "{stranger}");
    }
    assert!(real.upstream.take().is_empty());
}
