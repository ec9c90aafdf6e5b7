"""The keys of an issuer: a JSON Web Key Set (RFC 7517) from a file or a URL, kept up to date."""

import asyncio
import http.client
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ...errors import Unusable

log = logging.getLogger(__name__)

MAX_SIZE = 256 * 1024
TIME_LIMIT = 3.0
ALGORITHMS: dict[tuple[Any, Any], str] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
"""The one algorithm of each kind of key (``kty``, ``crv``)."""
PUBLIC = ("kty", "crv", "n", "e", "x", "y", "kid")
NO_KEY = (
    "it has no key to check signatures with: RSA of 2048 bits and more (RS256), "
    "EC P-256 (ES256) or Ed25519 (EdDSA)"
)

_JUNK = (jwt.PyJWTError, UnsupportedAlgorithm, ArithmeticError, LookupError, TypeError, ValueError)


def parse_jwks(raw: bytes) -> tuple[jwt.PyJWK, ...]:
    """The keys of a set that can be used here; others in it are left out. Raises ``Unusable`` where
    it is no key set at all."""
    try:
        entries = json.loads(raw)["keys"]
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise Unusable("it is not a JSON Web Key Set") from error
    if not isinstance(entries, list):
        raise Unusable("it is not a JSON Web Key Set")
    return tuple(filter(None, map(_parse_key, entries)))


def _parse_key(jwk: Any) -> jwt.PyJWK | None:
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str | None):
        return None
    try:
        algorithm = ALGORITHMS.get((jwk.get("kty"), jwk.get("crv")))
        if (
            algorithm is None
            or jwk.get("alg", algorithm) != algorithm
            or jwk.get("use", "sig") != "sig"
            or "verify" not in jwk.get("key_ops", ["verify"])
        ):
            return None
        # Were a private half in it, it would stay out of memory.
        key = jwt.PyJWK({name: jwk[name] for name in PUBLIC if name in jwk}, algorithm)
    except _JUNK:
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < 2048:
        return None
    return key


class Jwks:
    """A key set that is read ``every`` so many seconds (after a failure, every ``retry``), each
    time within ``limit`` seconds.

    A failure leaves the keys as they were and is logged once; a set without a key that can be used
    leaves none, and is logged, too. ``keys`` is None until they were had once, and the same object
    as long as they are the same keys.
    """

    def __init__(
        self,
        where: str,
        read: Callable[[], bytes],
        *,
        every: float,
        retry: float,
        pause: float,
        limit: float = TIME_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys: tuple[jwt.PyJWK, ...] | None = None
        self.problem: str | None = None
        self._where = where
        self._read = read
        self._every = every
        self._retry = retry
        self._pause = pause
        self._limit = limit
        self._clock = clock
        self._raw: bytes | None = None
        self._next = float("-inf")
        self._load: asyncio.Task[None] | None = None
        self._reading: Future[bytes] | None = None

    async def refresh(self) -> None:
        """Read anew; who asks meanwhile waits for the same. Not within ``pause`` seconds of the
        last reading's end, also where it failed: else each who asks would wait for the next one.
        """
        if self._load is not None or self._clock() >= self._next:
            await self._shared_load()

    async def watch(self) -> None:
        """Keep the keys up to date, until cancelled."""
        while True:
            await self._shared_load()
            await asyncio.sleep(self._every if self.problem is None else self._retry)

    def take(self, raw: bytes) -> None:
        """Use this key set, and no key that it lacks. Raises ``Unusable`` where none is left."""
        if raw == self._raw and self.keys:
            return
        self.keys = parse_jwks(raw)
        self._raw = raw
        if not self.keys:
            raise Unusable(NO_KEY)
        log.info("%d keys for tokens read from %s", len(self.keys), self._where)

    async def _shared_load(self) -> None:
        if self._load is None:
            self._load = asyncio.create_task(self._load_once())
        # Whoever goes away does not take the others' answer along.
        await asyncio.shield(self._load)

    async def _load_once(self) -> None:
        try:
            self.take(await self._read_in_thread())
        except TimeoutError:
            self._complain("it does not answer in time")
        except (Unusable, OSError, http.client.HTTPException, ValueError) as error:
            self._complain(str(error).strip("<>"))  # as urllib has it
        else:
            self.problem = None
        finally:
            self._load = None
            self._next = self._clock() + self._pause

    async def _read_in_thread(self) -> bytes:
        """What is read, within the time limit.

        In a thread of our own that dies with the process, for a lookup of a host's name may hang
        for long, and a stop must not wait for it. Nor is there ever a second thread: a reading that
        outlives its limit is what the next one waits for.
        """
        if self._reading is None or self._reading.done():
            self._reading = Future()
            self._reading.set_running_or_notify_cancel()
            threading.Thread(target=_settle, args=(self._reading, self._read), daemon=True).start()
        async with asyncio.timeout(self._limit):
            return await asyncio.wrap_future(self._reading)

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("The keys for tokens in %s can't be read: %s", self._where, problem)
        self.problem = problem


def _settle(future: Future[bytes], read: Callable[[], bytes]) -> None:
    try:
        future.set_result(read())
    except Exception as error:  # noqa: BLE001 - it is raised where the future is awaited
        future.set_exception(error)


def jwks_file(path: Path, *, every: float = 1.0) -> Jwks:
    """The key set in a file, read anew every second: by its content, so that a file written in
    place and a swapped symbolic link (as Kubernetes does it) are seen alike.

    Raises ``Unusable`` where there is no key to begin with.
    """

    def read() -> bytes:
        with path.open("rb") as file:
            return _limited(file)

    keys = Jwks(str(path), read, every=every, retry=every, pause=every)
    try:
        keys.take(read())
    except OSError as error:
        raise Unusable(
            f"The key set {path} can't be read ({error.strerror}): name one that can, with jwks."
        ) from error
    except Unusable as error:
        raise Unusable(f"The key set {path} can't be used: {error}.") from error
    return keys


def jwks_url(
    url: str,
    told: str = "",
    *,
    every: float = 300.0,
    retry: float = 10.0,
    pause: float = 5.0,
    limit: float = TIME_LIMIT,
    clock: Callable[[], float] = time.monotonic,
) -> Jwks:
    """The key set at a URL (http or https). Nothing is asked of it before ``watch`` or ``refresh``,
    so it may be away at the start. ``told``: the URL as others may see it, without what is secret
    in it. Raises ``Unusable`` for any other kind of URL."""
    told = told or url
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise Unusable(
            f"The key set {told} can't be used: its URL must be http:// or https://, without a "
            "login."
        )
    opener = _opener()

    def read() -> bytes:
        request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310
        try:
            with opener.open(request, timeout=limit) as answer:
                return _limited(answer)
        except urllib.error.HTTPError as error:
            error.close()
            raise

    return Jwks(told, read, every=every, retry=retry, pause=pause, limit=limit, clock=clock)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _limited(file: _Readable) -> bytes:
    raw = file.read(MAX_SIZE + 1)
    if len(raw) > MAX_SIZE:
        raise Unusable(f"it is larger than {MAX_SIZE // 1024} KiB")
    return raw


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """A redirect may lead elsewhere, but never from https to http, nor to files or FTP."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("https", req.type):
            reason = f"redirection to {newurl} is not allowed"
            raise urllib.error.HTTPError(req.full_url, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """No handler for any scheme but these two, unlike urllib's own opener."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _NoDowngrade(),
    ):
        opener.add_handler(handler)
    return opener
