"""Checks bundles that `exeat audit prove` wrote, written from docs/evidence.md and not from Exeat's code.

    python check.py BUNDLE GATEWAY=PUBLIC_KEY_BASE64    prints what is proven, or fails and says what is wrong
    python check.py --samples FOLDER                    says of each numbered sample whether it is `proven` or `refused`

Needs only `cryptography`, for Ed25519.
"""

import base64
import hashlib
import json
import pathlib
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    """Why a bundle proves nothing."""


def need(condition, why):
    if not condition:
        raise Refused(why)


def decode(text, length=None):
    """Canonical base64 and nothing else."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused("no base64: " + str(error)) from error
    need(base64.b64encode(data).decode() == text, "base64 with stray bits")
    need(length is None or len(data) == length, "the wrong length")
    return data


def decimal(text):
    need(text.isascii() and text.isdigit() and (text == "0" or text[0] != "0"), "no decimal number: %r" % text)
    need(int(text) < 2**64, "a number above 64 bits")
    return int(text)


def members(pairs):
    need(len({name for name, _ in pairs}) == len(pairs), "a member occurs twice")
    return dict(pairs)


def parse_json(text):
    try:
        return json.loads(text, object_pairs_hook=members)
    except ValueError as error:
        raise Refused("no JSON: " + str(error)) from error


def checkpoint(note, keys):
    """A C2SP checkpoint signed by the gateway that its origin names: origin, size, root, time."""
    text, divider, signatures = note.rpartition("\n\n")
    need(divider and signatures.endswith("\n"), "no signed note")
    text += "\n"
    lines = text[:-1].split("\n")
    need(len(lines) >= 3 and all(lines), "a checkpoint has three lines or more, none empty")
    origin, gateway = lines[0], lines[0].rsplit("/", 2)[0]
    need(origin.count("/") >= 2 and gateway, "no origin")
    need(gateway in keys, "no key of gateway %r was given" % gateway)
    raw = decode(keys[gateway], 32)
    key_id = hashlib.sha256(gateway.encode() + b"\x0a\x01" + raw).digest()[:4]
    signed = False
    for line in signatures[:-1].split("\n"):
        dash, name, value = (line.split(" ") + ["", ""])[:3]
        need(dash == "\u2014" and line.count(" ") == 2, "no signature line")
        value = decode(value)
        if name == gateway and value[:4] == key_id:
            try:
                Ed25519PublicKey.from_public_bytes(raw).verify(value[4:], text.encode())
            except InvalidSignature as error:
                raise Refused("the checkpoint's signature does not hold") from error
            signed = True
    need(signed, "nobody who counts signed the checkpoint")
    times = [line.split(" ") for line in lines[3:] if line.split(" ")[0] == "time"]
    need(len(times) == 1 and len(times[0]) == 2, "not exactly one time")
    return origin, decimal(lines[1]), decode(lines[2], 32), decimal(times[0][1])


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def leads_to(leaf, index, size, path):
    """The root to which a path leads (RFC 9162 section 2.1.3.2)."""
    need(index < size, "the leaf is not in the tree")
    at, last, found = index, size - 1, hashlib.sha256(b"\x00" + leaf).digest()
    for sibling in path:
        need(last > 0, "the path is too long")
        if at & 1 or at == last:
            found = node(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node(found, sibling)
        at, last = at >> 1, last >> 1
    need(last == 0, "the path is too short")
    return found


def proven(leaf, keys):
    """Origin and index of a leaf whose C2SP tlog-proof holds."""
    need(set(leaf) == {"line", "proof"}, "a leaf has line and proof")
    head, divider, note = leaf["proof"].partition("\n\n")
    need(divider, "no divider before the checkpoint")
    lines = head.split("\n")
    need(lines[0] == "c2sp.org/tlog-proof@v1", "no tlog-proof of version 1")
    lines = lines[2:] if len(lines) > 1 and lines[1].startswith("extra ") else lines[1:]
    need(lines and lines[0].startswith("index "), "no index")
    index = decimal(lines[0][len("index "):])
    origin, size, root, _ = checkpoint(note, keys)
    path = [decode(line, 32) for line in lines[1:]]
    need(leads_to(leaf["line"].encode(), index, size, path) == root, "the path does not lead to the signed root")
    return origin, index


def opens(opening, decision, index):
    need(set(opening) == {"leaf", "field", "salt", "value"}, "an opening has four members")
    need(opening["leaf"] == index, "an opening of another leaf")
    digest = hashlib.sha256(decode(opening["salt"], 16) + opening["value"].encode()).digest()
    need(decision.get(opening["field"]) == "sha256:" + base64.b64encode(digest).decode(), "an opening that does not open")


def check(bundle, keys):
    """The decision, its completion and the openings, once all of it is proven."""
    need(isinstance(bundle, dict) and set(bundle) - {"openings"} == {"format", "decision", "leaves"}, "no bundle")
    need(bundle["format"] == "exeat-bundle/v1", "a format that this program does not know")
    need(len(bundle["leaves"]) <= 16, "too many leaves")
    found, origins = {}, set()
    for leaf in bundle["leaves"]:
        origin, index = proven(leaf, keys)
        origins.add(origin)
        record = parse_json(leaf["line"])
        kind = record.get("kind")
        need(kind in ("genesis", "config", "decision", "completion"), "a record that has no place here")
        need(kind not in found, "two records of a kind")
        found[kind] = (index, record)
    need(len(origins) == 1, "leaves of several logs")
    need("decision" in found and found["decision"][1]["id"] == bundle["decision"], "the decision is not there")
    at, decision = found["decision"]
    if "genesis" in found:
        index, genesis = found["genesis"]
        need(index == 0 and genesis["origin"] in origins, "not the genesis of this log")
    if "config" in found:
        index, config = found["config"]
        need(index < at and config.get("policy") == (decision.get("policy") or {}).get("digest"), "another policy")
    if "completion" in found:
        index, completion = found["completion"]
        need(index > at and completion["decision"] == decision["id"] and decision["released"] != "none",
             "the completion of something else")
    for opening in bundle.get("openings", []):
        opens(opening, decision, at)
    return origins.pop(), at, decision, found.get("completion", (None, None))[1]


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--samples":
        for file in sorted(pathlib.Path(arguments[1]).glob("*.json")):
            sample = json.loads(file.read_text("utf-8"))
            try:
                check(sample["bundle"], sample["keys"])
                print(file.stem, "proven")
            except Refused:
                print(file.stem, "refused")
        return 0
    if len(arguments) != 2 or "=" not in arguments[1]:
        print(__doc__, file=sys.stderr)
        return 2
    gateway, _, key = arguments[1].partition("=")
    try:
        origin, at, decision, completion = check(
            parse_json(pathlib.Path(arguments[0]).read_text("utf-8")), {gateway: key})
    except Refused as why:
        print("proves nothing: %s" % why, file=sys.stderr)
        return 1
    print(json.dumps({"log": origin, "leaf": at, "decision": decision, "completion": completion}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
