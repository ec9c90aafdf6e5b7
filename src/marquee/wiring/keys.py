"""The keys of tokens: our own pair, or an issuer's set."""

from pathlib import Path

from ..adapters.keys import Jwks, OwnKeys, jwks_file, jwks_url
from ..config import Settings


def token_keys(settings: Settings) -> OwnKeys | Jwks:
    """The keys that tokens are checked with. Raises ``Unusable``."""
    jwks: str = settings["jwks"]
    if not jwks:
        return own_keys(settings)
    if "://" in jwks:
        return jwks_url(jwks, settings.shown("jwks"))
    return jwks_file(Path(jwks))


def own_keys(settings: Settings) -> OwnKeys:
    return OwnKeys(key_folder(settings))


def key_folder(settings: Settings) -> Path:
    data: Path = settings["data"]
    return data / "keys"
