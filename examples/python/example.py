"""Reads an order and searches for others, through the gateway.

    EXEAT_GATEWAY=http://127.0.0.1:10000 EXEAT_KEY=signer.key EXEAT_KEYID=signer-eu-1 \
        python example.py http://eu.crm.acme.example
"""

import os
import sys

from exeat_session import ExeatSession, load_key

session = ExeatSession(
    os.environ["EXEAT_GATEWAY"],
    os.environ["EXEAT_KEYID"],
    load_key(os.environ["EXEAT_KEY"]),
    agent="support/summarizer",
    session="python-1",
    tenant="acme",
    user="u-1042",
)
lookup = {"tool": "crm.lookup", "data_class": "internal", "provenance": ["user"], "reason": 'look up "order" 7'}
crm = sys.argv[1]

failed = False
for response in (
    session.get(f"{crm}/v1/orders/7", params={"customer": "u-1042"}, context=lookup),
    session.post(f"{crm}/v1/search", json={"customer_id": "u-1042"}, context={**lookup, "tool": "crm.search"}),
):
    # A refusal is application/problem+json from the gateway; its `reason` is a closed vocabulary.
    refused = response.headers.get("content-type") == "application/problem+json"
    print(response.request.method, response.status_code, response.json()["reason"] if refused else "allowed")
    failed |= refused
sys.exit(1 if failed else 0)
