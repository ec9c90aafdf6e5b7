"""Tokens as an operator sets them up: any issuer's keys, from a file or a URL, while it runs.

What is wrong with a bad one is for ``tests/unit/test_auth.py``; here all are tried on the wire.
"""

import base64
import hmac
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.api.asking import assert_problem, eventually
from tests.support.server import Server, marquee, serve

ISSUER, AUDIENCE = "https://issuer.example/realms/movies", "movies"
MINE = "/users/me/ratings"


class Key:
    def __init__(self, kid, algorithm, private):
        self.kid, self.algorithm, self.private = kid, algorithm, private

    @property
    def public(self):
        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), True)
        return made | {"kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def pem(self):
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, headers=(), *, without=(), **claims):
        now = int(time.time())
        every = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 60} | claims
        every = {name: value for name, value in every.items() if name not in without}
        named = {"kid": self.kid} | dict(headers)
        return jwt.encode(every, self.private, self.algorithm, headers=named)


RSA = Key("rsa", "RS256", rsa.generate_private_key(65537, 2048))
EC = Key("ec", "ES256", ec.generate_private_key(ec.SECP256R1()))
ED = Key("ed", "EdDSA", ed25519.Ed25519PrivateKey.generate())
STRANGER = Key("rsa", "RS256", rsa.generate_private_key(65537, 2048))


def jwks(*keys):
    return json.dumps({"keys": [key.public for key in keys]})


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    """A server that trusts the keys of a file."""
    folder = tmp_path_factory.mktemp("issuer")
    file = folder / "jwks.json"
    file.write_text(jwks(RSA, EC, ED))
    with serve(folder, jwks=file, issuer=ISSUER, audience=AUDIENCE) as server:
        yield server


@pytest.fixture(scope="module")
def asking(issuer):
    """Ask for one's ratings with a token."""
    with issuer.client() as client:
        yield lambda token: client.get(MINE, headers={"Authorization": f"Bearer {token}"})


def part(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def assembled(header, **claims):
    """A token without a signature."""
    every = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 60}
    return ".".join(part(json.dumps(each).encode()) for each in (header, every | claims)) + "."


def with_public_key_as_secret():
    signed = assembled({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).rstrip(".")
    return f"{signed}.{part(hmac.digest(RSA.pem, signed.encode(), 'sha256'))}"


def good():
    now = int(time.time())
    return {
        "RS256": RSA.sign(),
        "ES256": EC.sign(),
        "EdDSA": ED.sign(),
        "several audiences": RSA.sign(aud=["other", AUDIENCE]),
        "expired within the leeway": RSA.sign(exp=now - 5),
        "valid from within the leeway": RSA.sign(nbf=now + 20),
        "a sub of 128 characters": RSA.sign(sub="ü" * 128),
        "a fraction of a second": RSA.sign(exp=now + 60.5),
    }


def bad():
    now = int(time.time())
    return {
        "alg none": assembled({"alg": "none", "kid": "rsa"}),
        "alg None": assembled({"alg": "None", "kid": "rsa"}),
        "no alg": assembled({"kid": "rsa"}),
        "HS256 with the public key": with_public_key_as_secret(),
        "another algorithm of the key's kind": with_rs512(),
        "a key bound to another algorithm": RSA.sign({"kid": "ec"}),
        "another's signature": STRANGER.sign(),
        "an unknown kid": Key("other", "RS256", STRANGER.private).sign(),
        "no kid where there are several keys": RSA.sign({"kid": ""}),
        "a kid that is a path": RSA.sign({"kid": "../../etc/passwd"}),
        "a key of its own": STRANGER.sign({"jwk": STRANGER.public}),
        "expired": RSA.sign(exp=now - 3600),
        "not yet valid": RSA.sign(nbf=now + 3600),
        "issued in the future": RSA.sign(iat=now + 3600),
        "a wrong audience": RSA.sign(aud="other"),
        "no audience in a list": RSA.sign(aud=[]),
        "a wrong issuer": RSA.sign(iss=ISSUER + "/"),
        **{f"without {name}": RSA.sign(without=[name]) for name in ("exp", "iss", "aud", "sub")},
        "an empty sub": RSA.sign(sub=""),
        "a sub of 129 characters": RSA.sign(sub="x" * 129),
        "a control character in the sub": RSA.sign(sub="a\nb"),
        "a delete in the sub": RSA.sign(sub="a\x7f"),
        "exp as text": RSA.sign(exp=str(now + 60)),
        "tampered with": RSA.sign()[:-8] + "AAAAAAAA",
        "cut off": RSA.sign().rpartition(".")[0],
        "a fourth part": RSA.sign() + ".x",
        "of 30 KB": "x" * 30_000,
        "a critical extension": RSA.sign({"crit": ["x"], "x": 1}),
    }


def with_rs512():
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 60}
    return jwt.encode(claims, RSA.private, "RS512", headers={"kid": "rsa"})


@pytest.mark.parametrize("name", good())
def test_good_tokens(asking, name):
    token = good()[name]
    for _ in range(2):  # the second time it is remembered
        assert asking(token).status_code == 200


@pytest.mark.parametrize("name", bad())
def test_bad_tokens(asking, name):
    token = bad()[name]
    for _ in range(2):
        answer = asking(token)
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_sub_that_is_no_text(asking):
    signed = assembled({"alg": "EdDSA", "kid": "ed"}, sub=1).rstrip(".")
    token = f"{signed}.{part(ED.private.sign(signed.encode()))}"
    assert_problem(asking(token), 401)


def test_a_token_is_good_until_it_expires_and_no_longer(asking):
    token = RSA.sign(exp=int(time.time()) - 24)  # good for a few seconds more: 30 are let pass
    assert asking(token).status_code == 200
    answer = eventually(lambda: asking(token), lambda answer: answer.status_code == 401)
    assert_problem(answer, 401)


def test_scopes_are_separated_by_spaces(issuer):
    with issuer.client() as client:
        for scope, status in {
            "movies:write": 201,
            "openid movies:write profile": 201,
            "": 403,
            "movies:write,openid": 403,
            "xmovies:write": 403,
        }.items():
            headers = {"Authorization": f"Bearer {RSA.sign(scope=scope)}"}
            answer = client.post("/movies", json={"title": "x"}, headers=headers)
            assert answer.status_code == status, scope
        headers = {"Authorization": f"Bearer {RSA.sign(scope=['movies:write'])}"}
        assert client.post("/movies", json={"title": "x"}, headers=headers).status_code == 403


def test_the_scheme_is_bearer_in_any_case(issuer):
    with issuer.client() as client:
        for scheme in ("Bearer", "bearer", "BEARER"):
            headers = {"Authorization": f"{scheme} {RSA.sign()}"}
            assert client.get(MINE, headers=headers).status_code == 200
        for scheme in ("Token", "Basic", "JWT"):
            headers = {"Authorization": f"{scheme} {RSA.sign()}"}
            assert_problem(client.get(MINE, headers=headers), 401)
        assert_problem(client.get(f"{MINE}?access_token={RSA.sign()}"), 401)


def test_the_keys_of_a_file_rotate_without_a_restart(tmp_path):
    file = tmp_path / "jwks.json"
    file.write_text(jwks(RSA))
    with (
        serve(tmp_path, jwks=file, issuer=ISSUER, audience=AUDIENCE) as server,
        server.client() as client,
    ):

        def status(key):
            headers = {"Authorization": f"Bearer {key.sign()}"}
            return client.get(MINE, headers=headers).status_code

        assert (status(RSA), status(EC)) == (200, 401)
        written = tmp_path / "new.json"
        written.write_text(jwks(RSA, EC))
        written.replace(file)
        eventually(lambda: status(EC), lambda status: status == 200, within=15)
        assert status(RSA) == 200
        written.write_text(jwks(EC))
        written.replace(file)
        eventually(lambda: status(RSA), lambda status: status == 401, within=70)
        assert status(EC) == 200


class Provider(ThreadingHTTPServer):
    """An issuer's JWKS at a URL."""

    def __init__(self, *keys):
        self.keys = keys
        self.fetched = 0
        super().__init__(("127.0.0.1", 0), Asked)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/jwks"


class Asked(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.fetched += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(jwks(*self.server.keys).encode())

    def log_message(self, *_):
        pass


@contextmanager
def providing(*keys):
    with Provider(*keys) as provider:
        thread = threading.Thread(target=provider.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            provider.shutdown()
            thread.join()


def test_the_keys_of_a_url_rotate_without_a_restart_or_a_flood(tmp_path):
    with (
        providing(RSA) as provider,
        serve(tmp_path, jwks=provider.url, issuer=ISSUER, audience=AUDIENCE) as server,
        server.client() as client,
    ):

        def status(key):
            headers = {"Authorization": f"Bearer {key.sign(jti=str(time.time()))}"}
            return client.get(MINE, headers=headers).status_code

        eventually(lambda: status(RSA), lambda status: status == 200)
        before, began = provider.fetched, time.monotonic()
        for _ in range(100):
            assert status(EC) == 401
        assert provider.fetched <= before + 1 + (time.monotonic() - began) / 5
        provider.keys = (RSA, EC)
        eventually(lambda: status(EC), lambda status: status == 200, within=15)
        assert status(RSA) == 200


def test_a_url_that_is_away_is_503_and_then_back(tmp_path):
    with Provider(RSA) as gone:
        url = gone.url
    with (
        serve(tmp_path, jwks=url, issuer=ISSUER, audience=AUDIENCE) as server,
        server.client() as client,
    ):
        answer = client.get(MINE, headers={"Authorization": f"Bearer {RSA.sign()}"})
        assert_problem(answer, 503)
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/movies/top10").status_code == 200
        eventually(
            lambda: client.get("/health/ready").json()["dependencies"],
            lambda found: found["issuer"]["state"] == found["keys"]["state"] == "away",
        )


def test_an_issuer_that_is_away_is_told_and_its_keys_hold(tmp_path):
    file = tmp_path / "jwks.json"
    file.write_text(jwks(RSA))
    with (
        serve(tmp_path, jwks=file, issuer=ISSUER, audience=AUDIENCE) as server,
        server.client() as client,
    ):

        def ready():
            return client.get("/health/ready").json()

        eventually(ready, lambda ready: ready["status"] == "ok")
        file.rename(tmp_path / "gone")
        away = eventually(ready, lambda ready: ready["status"] == "degraded")
        assert away["dependencies"]["issuer"]["state"] == "away"
        assert away["dependencies"]["keys"]["state"] == "up"
        headers = {"Authorization": f"Bearer {RSA.sign()}"}
        assert client.get(MINE, headers=headers).status_code == 200
        (tmp_path / "gone").rename(file)
        eventually(ready, lambda ready: ready["status"] == "ok")


def test_who_takes_no_tokens_asks_no_issuer(tmp_path):
    with providing(RSA) as provider:
        told = {"jwks": provider.url, "issuer": ISSUER, "audience": AUDIENCE}
        server = Server(tmp_path, "top-rated", **told)
        try:
            with server.start().client() as client:
                eventually(
                    lambda: client.get("/health/ready").status_code, lambda status: status == 200
                )
            server.stop()
        finally:
            server.kill()
        assert provider.fetched == 0


def test_the_embedded_default_makes_its_own_pair(tmp_path):
    with serve(tmp_path) as server, server.client() as client:
        (key,) = (server.data / "keys").iterdir()
        assert key.stat().st_mode & 0o777 == 0o600
        printed = marquee("token", "--user", "alice", "--scope", "movies:write", data=server.data)
        assert printed.returncode == 0
        (token,) = printed.stdout.splitlines()
        headers = {"Authorization": f"Bearer {token}"}
        assert client.post("/movies", json={"title": "x"}, headers=headers).status_code == 201
        plain = marquee("token", "--user", "alice", data=server.data).stdout.strip()
        headers = {"Authorization": f"Bearer {plain}"}
        assert client.get(MINE, headers=headers).status_code == 200
        assert client.post("/movies", json={"title": "x"}, headers=headers).status_code == 403
        assert "alice" not in server.log
        assert token not in server.log
