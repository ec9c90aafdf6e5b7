"""The keys that tokens are checked with: our own pair, or a JSON Web Key Set of an issuer's.

Each source has ``keys``, the public keys as last heard; ``refresh()``, to ask anew; ``watch()``, a
background task that keeps them up to date; and ``problem``, what is wrong at present, or None.
"""

from .jwks import Jwks, jwks_file, jwks_url, parse_jwks
from .own import OwnKeys, are_made

__all__ = ["Jwks", "OwnKeys", "are_made", "jwks_file", "jwks_url", "parse_jwks"]
