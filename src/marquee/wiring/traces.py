"""Who tells of traces: nobody, unless a setting says where to."""

from collections.abc import Sequence

from .. import __version__
from ..config import Settings
from ..errors import Unusable
from ..tracing import UNTRACED, Tracer
from .extras import to_install


def open_tracer(settings: Settings, roles: Sequence[str]) -> Tracer:
    """Raises ``Unusable`` where what it takes is not installed."""
    url: str = settings["traces_url"]
    if not url:
        return UNTRACED
    if not url.startswith(("http://", "https://")):
        raise Unusable(
            f"traces_url must be http://… or https://…, and is {settings.shown('traces_url')}."
        )
    try:
        from ..adapters.otlp import OtlpTracer
    except ImportError as missing:
        raise Unusable(f"Traces need OpenTelemetry: {to_install(['traces'])}") from missing
    service = roles[0] if len(roles) == 1 else "marquee"
    return OtlpTracer(url, settings["traces_share"], service, __version__)
