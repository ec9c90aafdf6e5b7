"""Tokens: every attack that we know of, and keys that change while we run.

Nothing is mocked: real keys, real files, a real HTTP server.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from itertools import count

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from marquee import config
from marquee.adapters.keys import Jwks, OwnKeys, jwks_file, jwks_url, parse_jwks
from marquee.errors import Invalid, StoreAway, Unusable
from marquee.http.auth import LEEWAY, MAX_LENGTH, Caller, Unauthorized, Verifier, bearer
from marquee.wiring.keys import token_keys
from tests.support.tasks import until

ISSUER = "https://issuer.example"
AUDIENCE = "marquee"

RSA = rsa.generate_private_key(65537, 2048)
WEAK_RSA = rsa.generate_private_key(65537, 1024)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
OTHER = ed25519.Ed25519PrivateKey.generate()

KEYS = {"rsa": (RSA, "RS256"), "ec": (P256, "ES256"), "ed": (ED25519, "EdDSA")}


def jwk(private, kid=None, **more):
    maker = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
    }
    algorithm = next((a for kind, a in maker.items() if isinstance(private, kind)), OKPAlgorithm)
    return algorithm.to_jwk(private.public_key(), as_dict=True) | {"kid": kid} | more


def key_set(*jwks):
    return json.dumps({"keys": jwks}).encode()


ALL_KEYS = key_set(*(jwk(private, kid) for kid, (private, _) in KEYS.items()))
ONE_KEY = key_set(jwk(ED25519, "ed"))


class Fixed:
    """A source whose keys the test sets, and that counts how often it is asked."""

    def __init__(self, raw=ALL_KEYS):
        self.keys = parse_jwks(raw) if raw else None
        self.asked = 0

    async def refresh(self):
        self.asked += 1


def claims(**changes):
    """Good claims, but for the changes; None leaves one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 60}
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(private=ED25519, alg="EdDSA", kid="ed", header=None, **changes):
    headers = ({} if kid is None else {"kid": kid}) | (header or {})
    return jwt.encode(claims(**changes), private, alg, headers=headers)


def base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_token(header, payload):
    """Rightly signed, whatever is in it: text as it stands, anything else as JSON."""
    parts = [
        p.encode() if isinstance(p, str) else json.dumps(p).encode() for p in (header, payload)
    ]
    signed = ".".join(map(base64url, parts))
    return f"{signed}.{base64url(ED25519.sign(signed.encode()))}"


def verify(text, source=None, **options):
    return asyncio.run(Verifier(source or Fixed(), ISSUER, AUDIENCE, **options).verify(text))


HEADER = {"alg": "EdDSA", "kid": "ed"}


# ---- tokens that count -------------------------------------------------------------------------


@pytest.mark.parametrize("kid", KEYS)
def test_each_algorithm(kid):
    private, alg = KEYS[kid]
    assert verify(token(private, alg, kid)) == Caller("alice", frozenset())


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("movies:write", {"movies:write"}),
        ("a  b a ", {"a", "b"}),
        ("", set()),
        ("a\u00a0b", {"a\u00a0b"}),
        (["movies:write"], set()),
        (7, set()),
    ],
)
def test_scopes(scope, scopes):
    assert verify(token(scope=scope)).scopes == scopes


def test_audience_may_be_a_list():
    assert verify(token(aud=["other", AUDIENCE])).user_id == "alice"


@pytest.mark.parametrize("sub", ["a", "é" * 128, "auth0|12", "名 前"])
def test_subjects(sub):
    assert verify(token(sub=sub)).user_id == sub


def test_clocks_may_differ_a_little():
    now = int(time.time())
    assert verify(token(exp=now - LEEWAY + 5))
    assert verify(token(nbf=now + LEEWAY - 5, iat=now + LEEWAY - 5))


def test_a_token_need_not_name_the_only_key():
    assert verify(token(kid=None), Fixed(ONE_KEY))
    with pytest.raises(Unauthorized, match="name its key"):
        verify(token(kid=None))


def test_keys_that_tokens_bring_or_point_to_are_not_looked_at():
    with pytest.raises(Unauthorized):
        verify(token(OTHER, header={"jwk": jwk(OTHER, "ed"), "jku": "https://evil.example"}))
    assert verify(token(header={"jwk": jwk(OTHER), "jku": "file:///", "x5u": "http://evil"}))


# ---- attacks -----------------------------------------------------------------------------------

PEM = P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hs256(secret, kid):
    signed = base64url(json.dumps({"alg": "HS256", "kid": kid}).encode())
    signed += "." + base64url(json.dumps(claims()).encode())
    return signed + "." + base64url(hmac.digest(secret, signed.encode(), hashlib.sha256))


def changed_payload():
    header, _, signature = token().split(".")
    return f"{header}.{base64url(json.dumps(claims(sub='bob')).encode())}.{signature}"


DEEP = "[" * 2_500 + "]" * 2_500
NOW = int(time.time())

ATTACKS = {
    "none": lambda: jwt.encode(claims(), None, "none", headers={"kid": "ed"}),
    "none, signed": lambda: raw_token({"alg": "none", "kid": "ed"}, claims()),
    "None": lambda: raw_token({"alg": "None", "kid": "ed"}, claims()),
    "no algorithm": lambda: raw_token({"kid": "ed"}, claims()),
    "algorithm null": lambda: raw_token({"alg": None, "kid": "ed"}, claims()),
    "algorithms": lambda: raw_token({"alg": ["EdDSA"], "kid": "ed"}, claims()),
    "HS256 with the public key": lambda: hs256(PEM, "ec"),
    "HS256 with the JWK": lambda: hs256(json.dumps(jwk(ED25519, "ed")).encode(), "ed"),
    "HS256 with nothing": lambda: hs256(b"", "ed"),
    "RS512": lambda: token(RSA, "RS512", "rsa"),
    "PS256": lambda: token(RSA, "PS256", "rsa"),
    "the algorithm of another key": lambda: token(RSA, "RS256", "ec"),
    "the name of another key": lambda: token(ED25519, "EdDSA", "ec"),
    "a key of ours, not in the set": lambda: token(OTHER),
    "an unknown key": lambda: token(OTHER, kid="other"),
    "kid is a path": lambda: token(OTHER, kid="../../dev/null"),
    "kid is a number": lambda: raw_token({"alg": "EdDSA", "kid": 7}, claims()),
    "kid is null": lambda: raw_token({"alg": "EdDSA", "kid": None}, claims()),
    "kid is a list": lambda: raw_token({"alg": "EdDSA", "kid": ["ed"]}, claims()),
    "crit": lambda: raw_token(HEADER | {"crit": ["exp"]}, claims()),
    "crit, empty": lambda: raw_token(HEADER | {"crit": []}, claims()),
    "crit b64": lambda: raw_token(HEADER | {"crit": ["b64"], "b64": True}, claims()),
    "b64": lambda: raw_token(HEADER | {"b64": False}, claims()),
    "a payload changed": changed_payload,
    "a signature cut": lambda: token()[:-4],
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "expired": lambda: token(exp=NOW - LEEWAY - 1),
    "expired, as text": lambda: token(exp=str(NOW - 3600)),
    "not yet valid": lambda: token(nbf=NOW + 3600),
    "issued in the future": lambda: token(iat=NOW + 3600),
    "exp is text": lambda: token(exp=str(NOW + 60)),
    "exp is true": lambda: token(exp=True),
    "exp is a list": lambda: token(exp=[NOW + 60]),
    "exp is null": lambda: raw_token(HEADER, claims() | {"exp": None}),
    "exp is not a number": lambda: token(exp=float("nan")),
    "exp is infinite": lambda: token(exp=float("inf")),
    "exp is 1e400": lambda: raw_token(HEADER, json.dumps(claims(exp=7.5)).replace("7.5", "1e400")),
    "exp has 5,000 digits": lambda: raw_token(
        HEADER, json.dumps(claims(exp=7.5)).replace("7.5", "9" * 5000)
    ),
    "nbf is null": lambda: raw_token(HEADER, claims() | {"nbf": None}),
    "iat is text": lambda: token(iat=str(NOW)),
    "another audience": lambda: token(aud="another"),
    "other audiences": lambda: token(aud=["another", "third"]),
    "audiences of numbers": lambda: token(aud=[AUDIENCE, 7]),
    "no audience in the list": lambda: token(aud=[]),
    "audience is an object": lambda: token(aud={AUDIENCE: 1}),
    "another issuer": lambda: token(iss="https://evil.example"),
    "issuer, longer": lambda: token(iss=ISSUER + "/"),
    "issuers": lambda: raw_token(HEADER, claims(iss=[ISSUER])),
    "no exp": lambda: token(exp=None),
    "no iss": lambda: token(iss=None),
    "no aud": lambda: token(aud=None),
    "no sub": lambda: token(sub=None),
    "sub is empty": lambda: token(sub=""),
    "sub is a number": lambda: raw_token(HEADER, claims(sub=7)),
    "sub is too long": lambda: token(sub="x" * 129),
    "sub has a NUL": lambda: token(sub="alice\0"),
    "sub has a line end": lambda: token(sub="alice\nbob"),
    "sub has a C1 control": lambda: token(sub="alice\x9b"),
    "sub is half a surrogate": lambda: token(sub="alice\ud800"),
    "the whole is too long": lambda: token(padding="x" * MAX_LENGTH),
    "deep header": lambda: raw_token('{"alg":"EdDSA","kid":"ed","x":' + DEEP + "}", "{}"),
    "deep payload": lambda: raw_token(HEADER, DEEP),
    "payload is a list": lambda: raw_token(HEADER, []),
    "payload is no JSON": lambda: raw_token(HEADER, "{"),
    "header is a list": lambda: raw_token([], claims()),
    "header is UTF-16": lambda: base64url('{"alg":1}'.encode("utf-16")) + ".e30.AAAA",
    "no text": lambda: "",
    "dots": lambda: "..",
    "many dots": lambda: "." * 8000,
    "four parts": lambda: token() + ".e30",
    "five parts": lambda: "e30.e30.e30.e30.e30",
    "blanks": lambda: token() + " ",
    "no ASCII": lambda: "é" + token(),
    "lone surrogate": lambda: "\udcff" + token(),
    "NUL": lambda: token() + "\0",
    "a byte": lambda: "\xff",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(attack):
    with pytest.raises(Unauthorized) as error:
        verify(ATTACKS[attack]())
    assert error.value.status == 401
    assert error.value.headers == ((b"www-authenticate", b'Bearer error="invalid_token"'),)
    assert "\n" not in str(error.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
some_claims = st.dictionaries(
    st.sampled_from(["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "scope"]), json_values
)
some_header = st.dictionaries(
    st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk", "x5c"]), json_values
)


@settings(max_examples=300)
@given(header=some_header, payload=some_claims)
def test_whatever_is_signed_counts_or_not(header, payload):
    """Even the issuer itself can't send a token that breaks us."""
    verifier = Verifier(Fixed(ONE_KEY), ISSUER, AUDIENCE)
    with contextlib.suppress(Unauthorized):
        asyncio.run(verifier.verify(raw_token(HEADER | header, claims() | payload)))


@settings(max_examples=300)
@given(st.text() | st.from_regex(r"\A[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*\Z"))
def test_junk_is_no_token(text):
    with pytest.raises(Unauthorized):
        verify(text)


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "abc"])
def test_no_bearer_token_at_all(header):
    with pytest.raises(Unauthorized) as error:
        bearer(header)
    assert error.value.headers == ((b"www-authenticate", b"Bearer"),)


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER  abc ", "abc"), ("Bearer", "")],
)
def test_a_bearer_token(header, token):
    assert bearer(header) == token


# ---- remembered tokens -------------------------------------------------------------------------


def test_a_token_is_remembered_until_it_expires():
    now = time.time()
    verifier = Verifier(Fixed(), ISSUER, AUDIENCE, now=lambda: now)
    text = token()
    assert verifier.cached(text) is None
    caller = asyncio.run(verifier.verify(text))
    assert verifier.cached(text) is caller
    assert asyncio.run(verifier.verify(text)) is caller
    now += 60 + LEEWAY - 2
    assert verifier.cached(text) is caller
    now += 4
    assert verifier.cached(text) is None


def test_a_token_is_forgotten_when_the_keys_change():
    source = Fixed()
    verifier = Verifier(source, ISSUER, AUDIENCE)
    text = token()
    asyncio.run(verifier.verify(text))
    source.keys = parse_jwks(key_set(jwk(OTHER, "ed")))
    assert verifier.cached(text) is None
    with pytest.raises(Unauthorized):
        asyncio.run(verifier.verify(text))


def test_only_so_many_tokens_are_remembered_and_those_in_use_stay():
    verifier = Verifier(Fixed(), ISSUER, AUDIENCE, room=10)
    used = token(sub="used")
    asyncio.run(verifier.verify(used))
    for i in range(50):
        asyncio.run(verifier.verify(token(sub=f"u{i}")))
        assert verifier.cached(used)
    assert len(verifier._good) == 10


def test_bad_tokens_are_not_remembered():
    verifier = Verifier(Fixed(), ISSUER, AUDIENCE)
    for i in range(50):
        with pytest.raises(Unauthorized):
            asyncio.run(verifier.verify(token(OTHER, sub=f"u{i}")))
    assert not verifier._good


def test_only_an_unknown_key_asks_for_the_keys():
    source = Fixed()
    for bad in (token(OTHER), "junk", token(exp=1), ATTACKS["HS256 with the public key"]()):
        with pytest.raises(Unauthorized):
            verify(bad, source)
    assert source.asked == 0
    with pytest.raises(Unauthorized):
        verify(token(kid="new"), source)
    assert source.asked == 1


def test_without_any_keys_nobody_is_told_that_the_token_is_bad():
    source = Fixed(None)
    with pytest.raises(StoreAway):
        verify(token(), source)
    with pytest.raises(StoreAway):
        verify(token(kid=None), source)
    assert source.asked == 2


# ---- key sets ----------------------------------------------------------------------------------


def test_keys_of_other_kinds_and_uses_are_left_out():
    keys = parse_jwks(
        key_set(
            jwk(ED25519, "ed"),
            jwk(RSA, "enc", use="enc"),
            jwk(RSA, "oaep", alg="RSA-OAEP"),
            jwk(RSA, "signs", key_ops=["sign"]),
            jwk(RSA, "odd", key_ops=7),
            jwk(WEAK_RSA, "weak"),
            jwk(ec.generate_private_key(ec.SECP384R1()), "p384"),
            jwk(ed448.Ed448PrivateKey.generate(), "ed448"),
            jwk(ED25519, kid=7),
            jwk(ED25519, "broken") | {"x": "AAAA"},
            jwk(P256, "broken") | {"x": 7},
            {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
            {"kty": "RSA", "kid": "empty"},
            {"kty": ["RSA"]},
            {"kty": "new", "kid": "new"},
            "text",
            None,
        )
    )
    assert [(key.key_id, key.algorithm_name) for key in keys] == [("ed", "EdDSA")]


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b"\xff\xfe\xff", b"[" * 100_000, b'{"keys": 7}']
)
def test_what_is_no_key_set_is_refused_in_clear_words(raw):
    with pytest.raises(Unusable, match="not a JSON Web Key Set"):
        parse_jwks(raw)


@given(st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "d", "kid", "use", "alg",
                                        "key_ops"]), json_values))  # fmt: skip
def test_junk_in_a_set_harms_no_other_key(junk):
    for good in (jwk(RSA, "good"), jwk(P256, "good"), jwk(ED25519, "good")):
        keys = parse_jwks(key_set(jwk(ED25519, "ed"), good | junk))
        assert keys[0].key_id == "ed"


def test_a_private_half_in_a_set_is_not_taken():
    (key,) = parse_jwks(key_set(ECAlgorithm.to_jwk(P256, as_dict=True)))
    assert isinstance(key.key, ec.EllipticCurvePublicKey)


# ---- keys in a file ----------------------------------------------------------------------------

QUICK = 0.01


@contextlib.asynccontextmanager
async def watching(source):
    task = asyncio.create_task(source.watch())
    try:
        yield source
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def names(source):
    return [key.key_id for key in source.keys or ()]


async def test_a_file_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(jwk(ED25519, "old")))
    async with watching(jwks_file(path, every=QUICK)) as source:
        verifier = Verifier(source, ISSUER, AUDIENCE)
        old, new = token(kid="old"), token(OTHER, kid="new")
        assert await verifier.verify(old)
        path.write_bytes(key_set(jwk(OTHER, "new")))
        await until(lambda: names(source) == ["new"])
        assert await verifier.verify(new)
        with pytest.raises(Unauthorized):
            await verifier.verify(old)


async def test_a_file_is_read_at_once_for_an_unknown_key(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(jwk(ED25519, "old")))
    verifier = Verifier(jwks_file(path), ISSUER, AUDIENCE)
    path.write_bytes(key_set(jwk(ED25519, "old"), jwk(OTHER, "new")))
    assert await verifier.verify(token(OTHER, kid="new"))


async def test_a_swapped_symbolic_link_is_seen(tmp_path):
    """As Kubernetes changes a mounted secret: jwks.json -> ..data/jwks.json, ..data -> ..1."""
    for name, private in (("..1", ED25519), ("..2", OTHER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jwks.json").write_bytes(key_set(jwk(private, name)))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "jwks.json").symlink_to("..data/jwks.json")
    async with watching(jwks_file(tmp_path / "jwks.json", every=QUICK)) as source:
        assert names(source) == ["..1"]
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
        await until(lambda: names(source) == ["..2"])


@pytest.mark.parametrize("broken", [b"{", b"x" * 300_000, None])
async def test_a_broken_file_leaves_the_keys_and_is_logged_once(tmp_path, broken, caplog):
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(jwk(ED25519, "old")))
    async with watching(jwks_file(path, every=QUICK)) as source:
        keys = source.keys
        if broken is None:
            path.unlink()
        else:
            path.write_bytes(broken)
        await until(lambda: source.problem)
        for _ in range(5):
            await source.refresh()
        assert source.keys is keys
        assert [r.levelno for r in caplog.records].count(logging.WARNING) == 1
        path.write_bytes(key_set(jwk(OTHER, "new")))
        await until(lambda: names(source) == ["new"])
        assert source.problem is None


@pytest.mark.parametrize("emptied", [key_set(), key_set(jwk(WEAK_RSA, "weak"))])
async def test_a_key_that_is_taken_out_ends_what_it_signed_though_none_is_left(
    tmp_path, emptied, caplog
):
    path = tmp_path / "jwks.json"
    path.write_bytes(ONE_KEY)
    async with watching(jwks_file(path, every=QUICK)) as source:
        verifier = Verifier(source, ISSUER, AUDIENCE)
        assert await verifier.verify(token())
        path.write_bytes(emptied)
        await until(lambda: source.problem)
        for name in ("ed", None):
            with pytest.raises(Unauthorized, match="unknown key"):
                await verifier.verify(token(kid=name))
        await source.refresh()
        assert "no key to check signatures" in source.problem
        assert [r.levelno for r in caplog.records].count(logging.WARNING) == 1
        path.write_bytes(ONE_KEY)
        await until(lambda: names(source) == ["ed"])
        assert await verifier.verify(token())


async def test_the_same_keys_are_the_same_object(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(ALL_KEYS)
    source = jwks_file(path, every=0)
    keys = source.keys
    path.write_bytes(ALL_KEYS)
    await source.refresh()
    assert source.keys is keys


def test_a_file_must_be_good_to_begin_with(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(Unusable, match="No such file"):
        jwks_file(tmp_path / "jwks.json")
    (tmp_path / "jwks.json").write_bytes(b"{}")
    with pytest.raises(Unusable, match=r"jwks\.json.*not a JSON Web Key Set"):
        jwks_file(tmp_path / "jwks.json")
    for raw, why in ((key_set(), "no key to check"), (key_set(jwk(WEAK_RSA)), "2048 bits")):
        (tmp_path / "jwks.json").write_bytes(raw)
        with pytest.raises(Unusable, match=why):
            jwks_file(tmp_path / "jwks.json")
    assert not caplog.records  # one line, which is the error's, is enough


# ---- keys at a URL -----------------------------------------------------------------------------


class Issuer(http.server.ThreadingHTTPServer):
    """Serves ``body`` with ``status``, after ``gate`` is open; counts how often it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.body = ALL_KEYS
        self.status = 200
        self.location = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked = 0
        self.url = f"http://127.0.0.1:{self.server_port}/jwks.json"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self):
        self.server.asked += 1
        self.server.gate.wait(10)
        with contextlib.suppress(OSError):  # they may have given up
            self.send_response(self.server.status)
            if self.server.location:
                self.send_header("Location", self.server.location)
            self.end_headers()
            self.wfile.write(self.server.body)

    def log_message(self, *args):
        pass


@pytest.fixture
def issuer(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Issuer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


async def test_nothing_is_fetched_before_it_is_needed(issuer):
    source = jwks_url(issuer.url)
    assert source.keys is None
    assert issuer.asked == 0
    assert await Verifier(source, ISSUER, AUDIENCE).verify(token())
    assert issuer.asked == 1


async def test_a_new_key_is_fetched_when_a_token_names_it(issuer):
    now = 0.0
    source = jwks_url(issuer.url, clock=lambda: now)
    verifier = Verifier(source, ISSUER, AUDIENCE)
    await verifier.verify(token())
    issuer.body = key_set(jwk(OTHER, "new"))
    now += 31
    assert await verifier.verify(token(OTHER, kid="new"))
    with pytest.raises(Unauthorized):
        await verifier.verify(token())


async def test_unknown_keys_are_no_flood_of_fetches(issuer):
    now = 0.0
    source = jwks_url(issuer.url, clock=lambda: now)
    verifier = Verifier(source, ISSUER, AUDIENCE)
    kids = map("unknown {}".format, count())

    async def attack():
        with pytest.raises(Unauthorized):
            await verifier.verify(token(OTHER, kid=next(kids)))

    await asyncio.gather(*(attack() for _ in range(50)))
    assert issuer.asked == 1
    now += 4
    await asyncio.gather(*(attack() for _ in range(50)))
    assert issuer.asked == 1
    now += 2
    await asyncio.gather(*(attack() for _ in range(50)))
    assert issuer.asked == 2
    assert await verifier.verify(token())


async def test_a_fetch_that_took_long_is_followed_by_a_pause_all_the_same(issuer):
    now = 0.0
    issuer.status = 500
    issuer.gate.clear()
    source = jwks_url(issuer.url, clock=lambda: now)
    asking = asyncio.create_task(source.refresh())
    await until(lambda: issuer.asked)
    now += 100
    issuer.gate.set()
    await asking
    await source.refresh()
    assert issuer.asked == 1
    now += 5
    await source.refresh()
    assert issuer.asked == 2


async def test_those_who_wait_share_one_fetch_and_may_go(issuer):
    issuer.gate.clear()
    source = jwks_url(issuer.url)
    verifier = Verifier(source, ISSUER, AUDIENCE)
    gone = asyncio.create_task(verifier.verify(token()))
    waiting = [asyncio.create_task(verifier.verify(token())) for _ in range(10)]
    await until(lambda: issuer.asked)
    gone.cancel()
    issuer.gate.set()
    assert [caller.user_id for caller in await asyncio.gather(*waiting)] == ["alice"] * 10
    assert issuer.asked == 1
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_while_the_issuer_was_never_there_calls_are_told_to_come_back(issuer):
    issuer.status = 500
    now = 0.0
    source = jwks_url(issuer.url, clock=lambda: now)
    verifier = Verifier(source, ISSUER, AUDIENCE)
    with pytest.raises(StoreAway):
        await verifier.verify(token())
    assert "500" in source.problem
    issuer.status = 200
    now += 31
    assert await verifier.verify(token())
    assert source.problem is None


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, ALL_KEYS, "500"),
        (404, b"", "404"),
        (200, b"<html>", "not a JSON"),
        (200, ALL_KEYS + b" " * 256 * 1024, "larger than 256 KiB"),
    ],
)
async def test_a_failing_issuer_leaves_the_keys(issuer, status, body, why):
    source = jwks_url(issuer.url, pause=0)
    verifier = Verifier(source, ISSUER, AUDIENCE)
    await verifier.verify(token())
    issuer.status, issuer.body = status, body
    await source.refresh()
    assert why in source.problem
    assert await verifier.verify(token(sub="bob"))


async def test_what_is_secret_in_the_url_of_keys_is_told_nobody(caplog, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def keys(url):
        return token_keys(config.load({}, {"MARQUEE_JWKS": url}))

    await keys("http://127.0.0.1:1/jwks?access_token=s3cret").refresh()
    assert "http://127.0.0.1:1/jwks?access_token=*** can't be read" in caplog.text
    assert "s3cret" not in caplog.text
    for url in ("ftp://h/?token=s3cret", "https:///?token=s3cret", "https://u:s3cret@h/jwks"):
        with pytest.raises(Unusable, match=r"\*\*\*.* must be http") as refused:
            keys(url)
        assert "s3cret" not in str(refused.value)


async def test_an_issuer_that_is_gone_leaves_the_keys(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Issuer() as server:
        url = server.url
    source = jwks_url(url)
    await source.refresh()
    assert "refused" in source.problem
    assert source.keys is None


async def test_an_issuer_that_hangs_is_not_waited_for(issuer):
    source = jwks_url(issuer.url, pause=0, limit=0.05)
    verifier = Verifier(source, ISSUER, AUDIENCE)
    issuer.gate.clear()
    with pytest.raises(StoreAway):
        await verifier.verify(token())
    assert "time" in source.problem
    issuer.gate.set()
    await until_read(source)
    assert await verifier.verify(token())


async def until_read(source):
    async with asyncio.timeout(10):
        while not source.keys:
            await source.refresh()


async def test_a_reading_that_hangs_is_never_joined_by_a_second():
    gate, started = threading.Event(), []

    def read():
        started.append(threading.current_thread())
        gate.wait(10)
        return ALL_KEYS

    source = Jwks("a slow place", read, every=1, retry=1, pause=0, limit=0.01)
    for _ in range(5):
        await source.refresh()
    assert source.problem == "it does not answer in time"
    assert len(started) == 1
    assert started[0].daemon  # a stop does not wait for it
    gate.set()
    await until_read(source)
    assert names(source) == ["rsa", "ec", "ed"]


async def test_the_keys_are_fetched_again_in_the_background(issuer):
    async with watching(jwks_url(issuer.url, every=QUICK, retry=QUICK)) as source:
        await until(lambda: names(source) == ["rsa", "ec", "ed"])
        issuer.status = 500
        await until(lambda: source.problem)
        issuer.status, issuer.body = 200, ONE_KEY
        await until(lambda: names(source) == ["ed"])


async def test_a_redirect_is_followed_but_not_to_other_schemes(issuer, monkeypatch, tmp_path):
    (tmp_path / "jwks.json").write_bytes(ALL_KEYS)
    with Issuer() as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        source = jwks_url(issuer.url, pause=0)
        issuer.status = 302
        for location in (f"file://{tmp_path}/jwks.json", "ftp://127.0.0.1/", "data:,{}"):
            issuer.location = location
            await source.refresh()
            assert source.problem
            assert source.keys is None
        issuer.location = other.url
        await source.refresh()
        assert names(source) == ["rsa", "ec", "ed"]
        other.shutdown()
        thread.join()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "jwks.json", "https://"])
def test_other_urls_are_refused(url):
    with pytest.raises(Unusable, match="http"):
        jwks_url(url)


# ---- our own keys ------------------------------------------------------------------------------


def test_our_own_tokens_are_good(tmp_path):
    keys = OwnKeys(tmp_path / "data" / "keys")
    text = keys.sign("alice", ["movies:write", "b"], 3600, ISSUER, AUDIENCE)
    assert verify(text, keys) == Caller("alice", frozenset({"movies:write", "b"}))
    assert verify(keys.sign("alice", [], 3600, ISSUER, AUDIENCE), keys).scopes == frozenset()
    with pytest.raises(Unauthorized, match="expired"):
        verify(keys.sign("alice", [], -3600, ISSUER, AUDIENCE), keys)
    with pytest.raises(Unauthorized):
        verify(text, OwnKeys(tmp_path / "other"))


def test_our_own_keys_last(tmp_path):
    text = OwnKeys(tmp_path).sign("alice", [], 3600, ISSUER, AUDIENCE)
    assert verify(text, OwnKeys(tmp_path))


def test_nobody_else_can_read_our_keys(tmp_path):
    before = os.umask(0)
    try:
        OwnKeys(tmp_path / "keys")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    (file,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_that_others_can_read_is_told_of(tmp_path, caplog):
    OwnKeys(tmp_path)
    (tmp_path / "ed25519.pem").chmod(0o644)
    OwnKeys(tmp_path)
    assert "can be read by other users" in caplog.text


MAKER = """
import sys
from pathlib import Path
from marquee.adapters.keys import OwnKeys
print("ready", flush=True)
sys.stdin.readline()
print(OwnKeys(Path(sys.argv[1])).keys[0].key_id)
"""


def test_two_processes_that_start_at_once_agree(tmp_path):
    command = [sys.executable, "-c", MAKER, str(tmp_path / "keys")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    makers = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for maker in makers:
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        maker.stdin.write("\n")
        maker.stdin.flush()
    names = {maker.communicate(timeout=30)[0] for maker in makers}
    assert len(names) == 1
    assert names.pop().strip() == OwnKeys(tmp_path / "keys").keys[0].key_id
    assert [file.name for file in (tmp_path / "keys").iterdir()] == ["ed25519.pem"]


def test_many_makers_at_once_agree(tmp_path):
    start = threading.Barrier(8)
    made = []

    def make():
        start.wait(60)
        made.append(OwnKeys(tmp_path / "keys").keys[0].key_id)

    threads = [threading.Thread(target=make, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 8
    assert len(set(made)) == 1


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_damaged_key_is_told_of_and_not_replaced(tmp_path, content):
    (tmp_path / "ed25519.pem").write_bytes(content)
    with pytest.raises(Unusable, match="damaged"):
        OwnKeys(tmp_path)
    assert (tmp_path / "ed25519.pem").read_bytes() == content


def test_a_key_of_another_kind_is_told_of(tmp_path):
    pem = P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ed25519.pem").write_bytes(pem)
    with pytest.raises(Unusable, match="not an Ed25519 key"):
        OwnKeys(tmp_path)


def test_a_folder_that_cannot_be_made_is_told_of(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unusable, match="Not a directory"):
        OwnKeys(tmp_path / "file" / "keys")


@pytest.mark.parametrize("user", ["", "x" * 129, "a\nb", "\ud800"])
def test_no_token_for_what_is_no_user(tmp_path, user):
    with pytest.raises(Invalid):
        OwnKeys(tmp_path).sign(user, [], 60, ISSUER, AUDIENCE)
