#!/usr/bin/env python3
"""Checks record/testdata/vectors with code that shares nothing with the Go
implementation: layout, IDs and signatures, from docs/record.md alone.

    python3 docs/verify_vectors.py [folder of the vectors]

Needs Python 3.8 and nothing else. Prints counts; exits 1 on any mismatch.
"""
import hashlib
import json
import pathlib
import sys

# Ed25519 under ZIP-215, affine, slow and obvious.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)  # a square root of -1


def point(b):
    """The point (x, y) of 32 bytes, or None. y is reduced mod p; x = 0 may carry either sign."""
    n = int.from_bytes(b, "little")
    y, sign = n % 2**255 % P, n >> 255
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * I % P
    if v * x * x % P != u:
        return None
    return (P - x if x % 2 != sign else x) % P, y


def add(p, q):
    """Addition in extended coordinates (X, Y, Z, T); complete on this curve."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * D * p[3] * q[3] % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, p):
    p, out = (p[0], p[1], 1, p[0] * p[1] % P), (0, 1, 1, 0)
    while n:
        if n & 1:
            out = add(out, p)
        p, n = add(p, p), n >> 1
    return out


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def holds(key, message, signature):
    """8 (S B - k A - R) is the identity, with S < L."""
    a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    rest = add(times(s, BASE), add(times(k, (P - a[0], a[1])), times(1, (P - r[0], r[1]))))
    for _ in range(3):
        rest = add(rest, rest)
    return rest[0] == 0 and (rest[1] - rest[2]) % P == 0


# Records, version 1.


class Malformed(Exception):
    """Raised with the field that breaks the format."""


def need(condition, field):
    if not condition:
        raise Malformed(field)


def check_path(b):
    need(b[:1] == b"/" and not any(c < 0x20 or c == 0x7F for c in b), "path")
    try:
        b.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("path") from None
    need(b == b"/" or not any(c in (b"", b".", b"..") for c in b.split(b"/")[1:]), "path")


def check_control(b):
    need(len(b) >= 33, "control")
    out, body = {"type": b[0], "under": b[1:33].hex()}, b[33:]
    if b[0] == 1:
        need(len(body) == 81 and 1 <= body[64] <= 3, "grant")
        out.update(author=body[:32].hex(), device=body[32:64].hex(), role=body[64], random=body[65:].hex())
    elif b[0] == 2:
        need(len(body) >= 52, "seal")
        part, parts, listed = int.from_bytes(body[48:50], "big"), int.from_bytes(body[50:52], "big"), body[52:]
        need(1 <= part <= parts and len(listed) % 16 == 0 and len(listed) <= 16 * 4000, "seal")
        prefixes = [listed[i : i + 16] for i in range(0, len(listed), 16)]
        need(all(a < b for a, b in zip(prefixes, prefixes[1:])), "seal")
        out.update(target=body[:32].hex(), sealId=body[32:48].hex(), part=part, parts=parts, listed=len(prefixes))
    else:
        out["body"] = body.hex()
    return {k: v for k, v in out.items() if v not in ("", 0) or k in ("type", "under")}


def decode(b):
    """The fields of a record as the vectors name them, and the head its signature covers."""
    need(126 <= len(b) <= 67462, "length")
    version, kind, flags = b[:3]
    path_len, payload_len, time, lane, seq = (int.from_bytes(b[i:j], "big") for i, j in ((3, 5), (5, 9), (9, 17), (17, 25), (25, 29)))
    author, signature, at, end = b[29:61], b[-64:], 61, len(b) - 64
    need(version == 1, "version")
    need(kind != 0, "kind")
    need(flags < 16, "flags")
    need(kind == 2 or not flags & 9, "flags")
    need(kind not in (4, 5) or not flags & 6, "flags")
    need(1 <= path_len <= 1024, "pathLen")
    need(payload_len <= 65536, "payloadLen")
    need(1 <= time < 2**53, "time")
    need((lane == 0) == (kind == 5), "lane")
    need(seq < 2**20 if kind == 4 else (seq == 0) == (kind == 5), "seq")
    out = {"kind": kind, "time": time, "lane": str(lane), "seq": seq, "author": author.hex(), "signature": signature.hex()}
    out.update({name: True for bit, name in ((1, "deleted"), (4, "blob")) if flags & bit})
    if flags & 2:
        out["expires"] = int.from_bytes(b[at : at + 8], "big")
        need(at + 8 <= end and time < out["expires"] < 2**53, "expires")
        at += 8
    if flags & 8:
        need(at < end and 1 <= b[at] <= 64 and at + 1 + 12 * b[at] <= end, "replaces")
        entries = [(b[i : i + 8], int.from_bytes(b[i + 8 : i + 12], "big")) for i in range(at + 1, at + 1 + 12 * b[at], 12)]
        own = hashlib.sha256(author + lane.to_bytes(8, "big")).digest()[:8]
        need(all(n > 0 and tag != own for tag, n in entries), "replaces")
        need(all(a[0] < b[0] for a, b in zip(entries, entries[1:])), "replaces")
        out["replaces"] = [{"lane": tag.hex(), "number": n} for tag, n in entries]
        at += 1 + 12 * len(entries)
    need(end - at == path_len + payload_len, "length")
    path, payload = b[at : at + path_len], b[at + path_len : end]
    check_path(path)
    if kind == 4:
        need(len(payload) <= 512 and payload[-1:] != b"\0", "sweep")
    if kind == 5:
        out["control"] = check_control(payload)
    out.update(path=path.decode(), payloadLen=len(payload), payloadSha256=hashlib.sha256(payload).hexdigest())
    return out, b[: at + path_len] + hashlib.sha256(payload).digest()


def judge(v):
    """What is wrong with a record's bytes ("" if nothing), its fields and its ID."""
    b = bytes.fromhex(v["bytes"])
    try:
        fields, head = decode(b)
    except Malformed as e:
        return "malformed " + str(e), None, None
    message = b"anabranch record 1" + bytes.fromhex(v["space"]) + head
    wrong = "" if holds(b[29:61], message, b[-64:]) else "signature"
    return wrong, fields, hashlib.sha256(message + b[-64:]).hexdigest()


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "record" / "testdata" / "vectors"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    mismatches = 0

    def check(name, test):
        nonlocal mismatches
        vectors = [json.loads(line) for line in (folder / name).read_text("utf-8").split("\n") if line]
        bad = [v["about"] for v in vectors if not test(v)]
        mismatches += len(bad) + (not vectors)
        print(f"{name}: {len(vectors) - len(bad)} of {len(vectors)} agree", *bad, sep="\n  MISMATCH: " if bad else "")

    def valid(v):
        wrong, fields, record_id = judge(v)
        told = {k: x for k, x in v.items() if k not in ("about", "space", "bytes", "id")}
        if "control" in told:
            told["control"] = {k: x for k, x in told["control"].items() if x not in ("", 0) or k in ("type", "under")}
        return wrong == "" and fields == told and record_id == v["id"]

    def refused(v):
        return judge(v)[0] == (v["error"] + " " + v.get("field", "")).strip()

    def signature(v):
        return holds(*(bytes.fromhex(v[k]) for k in ("key", "message", "signature"))) == v["valid"]

    check("records.jsonl", valid)
    check("refused.jsonl", refused)
    check("signatures.jsonl", signature)
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
