"""Our own key pair (Ed25519), for those who have no issuer: made on first need, kept in a file."""

import base64
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ... import durable
from ...errors import Invalid, Unusable
from ...model import NO_USER_ID, is_user_id

FILE = "ed25519.pem"

log = logging.getLogger(__name__)


class OwnKeys:
    """The pair in ``folder``, made there if it is missing; its public half is all of ``keys``.

    The folder has mode 0700 and the file (PKCS #8, PEM) 0600. Raises ``Unusable`` where the pair
    can be neither read nor made.
    """

    problem: str | None = None

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        try:
            if not path.exists():
                _make(path)
            pem = path.read_bytes()
            open_to_others = path.stat().st_mode & 0o077
        except OSError as error:
            raise Unusable(f"The key pair {path} can't be used: {error.strerror}.") from error
        try:
            private = load_pem_private_key(pem, password=None)
        except (TypeError, ValueError) as error:
            raise Unusable(f"The key pair {path} is damaged: restore it from a backup.") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise Unusable(f"The key pair {path} is not an Ed25519 key.")
        if open_to_others:
            log.warning("The private key %s can be read by other users: chmod 600 it.", path)
        self._private = private
        public = _public_jwk(private)
        self._name: str = public["kid"]
        self.keys: tuple[jwt.PyJWK, ...] = (jwt.PyJWK(public, "EdDSA"),)

    def sign(
        self, user_id: str, scopes: Iterable[str], ttl: float, issuer: str, audience: str
    ) -> str:
        """A token with which ``user_id`` is let in for ``ttl`` seconds from now.

        Raises ``Invalid`` where that could be no user's id.
        """
        if not is_user_id(user_id):
            raise Invalid(NO_USER_ID)
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": issuer,
            "aud": audience,
            "sub": user_id,
            "iat": now,
            "exp": now + int(ttl),
        }
        if scope := " ".join(scopes):
            claims["scope"] = scope
        return jwt.encode(claims, self._private, "EdDSA", headers={"kid": self._name})

    async def refresh(self) -> None:
        """The pair never changes."""

    async def watch(self) -> None:
        """Returns at once: the pair never changes."""


def are_made(folder: Path) -> bool:
    """Whether the pair is there already; who reads it says why where that can't be told."""
    try:
        return (folder / FILE).exists()
    except OSError:
        return True


def _make(path: Path) -> None:
    """Writes a new pair, unless another process did so first: then theirs is the one."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        with suppress(FileExistsError):  # the first one wins, and nobody ever reads half a key
            durable.put(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _public_jwk(private: Ed25519PrivateKey) -> dict[str, str]:
    """The public half, named by its thumbprint (RFC 7638, RFC 8037)."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(private.public_key().public_bytes_raw())}
    canonical = json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()
    return jwk | {"kid": _base64url(hashlib.sha256(canonical).digest())}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
