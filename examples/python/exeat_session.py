"""A `requests` session whose requests carry a signed context (docs/signed-context.md) to an Exeat gateway.

    session = ExeatSession("http://127.0.0.1:10000", "signer-eu-1", key,
                           agent="support/summarizer", session="s-1", tenant="acme")
    session.get("http://eu.crm.acme.example/v1/orders/7", context={"tool": "crm.lookup", "provenance": ["user"]})

Write URLs with http:// even where the destination speaks HTTPS: this process speaks plain HTTP to the gateway next to it,
and the gateway goes on over TLS. Each request is signed when it is sent, with a nonce of its own: a retry needs a new one.
"""

import base64
import secrets

import http_sf
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver
from http_message_signatures.algorithms import ED25519

# Members of the context whose values are words of a closed list, not strings.
WORDS = {"session_type", "data_class", "scope", "provenance"}


def load_key(path):
    """The private key as `exeat key new` writes it: base64 of the 32-byte seed."""
    with open(path, encoding="ascii") as file:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(file.read().strip(), validate=True))


class ExeatSession(requests.Session):
    """Sends everything through the gateway, signed."""

    def __init__(self, gateway, keyid, key, **context):
        """`context` holds for every request of this session: agent and session at least."""
        super().__init__()
        self.context, self.keyid = context, keyid
        self.signer = HTTPMessageSigner(
            signature_algorithm=ED25519, key_resolver=MappingKeyResolver(public_keys={}, private_keys={keyid: key})
        )
        # The gateway is the proxy of all there is. Proxies from the environment would lead past it.
        self.trust_env = False
        self.proxies = {"http": gateway}
        # A redirect is another request, to be signed anew by whoever decides to follow it.
        self.max_redirects = 0

    def request(self, method, url, context=None, **kwargs):
        """As in `requests`; `context` are members for this request alone, such as tool and provenance."""
        kwargs.setdefault("allow_redirects", False)
        kwargs["auth"] = lambda request: self.sign(request, context or {})
        return super().request(method, url, **kwargs)

    def sign(self, request, context):
        """Adds Agent-Context, Content-Digest, Signature-Input and Signature to a prepared request."""
        if not request.url.startswith("http://"):
            raise ValueError("write the URL with http://; the gateway is the one that speaks TLS")
        request.headers["Agent-Context"] = agent_context({**self.context, **context})
        cover = ["@method", "@authority", "@path", "agent-context"]
        cover += ["@query"] if "?" in request.url else []
        cover += [name for name in ("content-type", "content-encoding") if request.body and name in request.headers]
        body = request.body.encode() if isinstance(request.body, str) else request.body
        if not isinstance(body, (bytes, type(None))):
            raise TypeError("read the body into bytes first; what is signed is its digest")
        self.signer.sign(
            request,
            key_id=self.keyid,
            nonce=secrets.token_urlsafe(16),
            tag="exeat",
            label="exeat",
            covered_component_ids=cover,
            body=body or None,  # adds Content-Digest and covers it
        )
        return request


def agent_context(members):
    """The dictionary of RFC 9651 that the gateway reads."""

    def member(name, given):
        bare = http_sf.Token if name in WORDS else str
        if isinstance(given, (list, tuple)):
            return ([(bare(item), {}) for item in given], {})
        return (bare(given), {})

    return http_sf.ser({name: member(name, given) for name, given in members.items()})
