"""Who is calling: bearer tokens (JWT, RFC 7519), verified once and then remembered.

The rules are those of RFC 8725 (JSON Web Token Best Current Practices): the algorithm is bound to
the key, never to the token; what a token says of keys elsewhere (``jku``, ``jwk``, ``x5u``) is not
looked at.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jwt

from ..errors import StoreAway
from ..model import NO_USER_ID, is_user_id
from .problems import HttpError

ALGORITHMS = ("RS256", "ES256", "EdDSA")
LEEWAY = 30
"""Seconds by which clocks may differ."""
MAX_LENGTH = 8 * 1024
"""Characters of the longest token that is looked at."""
REQUIRED = ("exp", "iss", "aud", "sub")
TIMES = ("exp", "nbf", "iat")

REASONS = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAudienceError: "The token is meant for another audience.",
    jwt.InvalidIssuerError: "The token comes from another issuer.",
    jwt.InvalidSignatureError: "The token's signature is wrong.",
    jwt.MissingRequiredClaimError: "The token lacks one of exp, iss, aud and sub.",
}


class Unauthorized(HttpError):
    """401: no token, or none that counts."""

    def __init__(self, detail: str = "The token is not valid.", *, given: bool = True) -> None:
        # RFC 6750, 3.1: who sent no token is not told of an invalid one.
        challenge = b'Bearer error="invalid_token"' if given else b"Bearer"
        super().__init__(401, detail, [(b"www-authenticate", challenge)])


class Caller(NamedTuple):
    """Whose token it is, and what it lets them do."""

    user_id: str
    scopes: frozenset[str]


class KeySource(Protocol):
    """Where the keys come from."""

    @property
    def keys(self) -> tuple[jwt.PyJWK, ...] | None:
        """The public keys as last heard, each bound to one of ``ALGORITHMS``; None until they were
        had once. The same object as long as they are the same keys."""
        ...

    async def refresh(self) -> None:
        """Ask for the keys anew, unless that was done a moment ago. Never raises, ends soon."""
        ...


def bearer(authorization: str | None) -> str:
    """The token of an ``Authorization`` header. Raises ``Unauthorized`` where there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("This call needs a bearer token.", given=False)
    return token.strip(" ")


class Verifier:
    """Tokens of one issuer, for one audience.

    Remembers the last ``room`` tokens that were found good, until they expire or the keys change.
    Bad ones are not remembered: whoever makes them up could fill the memory with them.
    """

    def __init__(
        self,
        source: KeySource,
        issuer: str,
        audience: str,
        *,
        room: int = 10_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._issuer = issuer
        self._audience = audience
        self._room = room
        self._now = now
        self._keys: tuple[jwt.PyJWK, ...] | None = None
        self._by_name: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._good: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    def cached(self, token: str) -> Caller | None:
        """The caller, if the token was verified before and still holds; else ask ``verify``."""
        if self._source.keys is not self._keys:
            self._take_keys()
        known = self._good.get(token)
        if known is None:
            return None
        caller, end = known
        if self._now() >= end:
            del self._good[token]
            return None
        self._good.move_to_end(token)
        return caller

    async def verify(self, token: str) -> Caller:
        """The caller whose token this is.

        Raises ``Unauthorized`` for whatever is wrong with it, and ``StoreAway`` as long as no keys
        could be had at all.
        """
        caller = self.cached(token)
        if caller is not None:
            return caller
        name = _key_name(token)
        key = self._key(name)
        if key is None:
            await self._source.refresh()
            key = self._key(name)
        if key is None:
            if self._keys is None:
                raise StoreAway("The keys that tokens are checked with can't be had at present.")
            raise Unauthorized("The token is signed with an unknown key.")
        caller, end = self._check(token, key)
        self._good[token] = caller, end
        if len(self._good) > self._room:
            self._good.popitem(last=False)
        return caller

    def _take_keys(self) -> None:
        self._keys = self._source.keys
        self._by_name = {(key.key_id, key.algorithm_name): key for key in self._keys or ()}
        self._good.clear()

    def _key(self, name: tuple[str | None, str]) -> jwt.PyJWK | None:
        if self._source.keys is not self._keys:
            self._take_keys()
        if name[0] is None and self._keys:
            # A token need not name its key where there is no other.
            if len(self._keys) > 1:
                raise Unauthorized("The token does not name its key.")
            return self._keys[0]
        return self._by_name.get(name)

    def _check(self, token: str, key: jwt.PyJWK) -> tuple[Caller, float]:
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY,
                options={"require": list(REQUIRED)},
            )
        except Exception as error:  # of whatever kind: it is the token's fault
            raise Unauthorized(REASONS.get(type(error), "The token is not valid.")) from error
        # PyJWT would take "60", true and null for times, too.
        if any(type(claims[name]) not in (int, float) for name in TIMES if name in claims):
            raise Unauthorized("The token's times must be numbers.")
        user_id = claims["sub"]
        if not is_user_id(user_id):
            raise Unauthorized(f"The token's sub is no user's id. {NO_USER_ID}")
        return Caller(user_id, _scopes(claims.get("scope"))), int(claims["exp"]) + LEEWAY


def _key_name(token: str) -> tuple[str | None, str]:
    """The id and the algorithm of the key that a token says it is signed with."""
    if len(token) > MAX_LENGTH:
        raise Unauthorized("The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
    except Exception as error:  # of whatever kind: it is the token's fault
        raise Unauthorized from error
    if "crit" in header or "b64" in header:
        raise Unauthorized("The token asks for extensions that are not known here.")
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise Unauthorized(f"The token must be signed with one of {', '.join(ALGORITHMS)}.")
    return key_id, algorithm


def _scopes(claim: Any) -> frozenset[str]:
    """RFC 8693, 4.2: separated by spaces. A claim of another form grants nothing."""
    return frozenset(filter(None, claim.split(" "))) if isinstance(claim, str) else frozenset()
