"""The servers of ``make engine``, where they run."""

from engine.engine import default_engine

from .measuring import Missing


def needed(*parts: str) -> dict[str, str]:
    """The MARQUEE_* variables that lead to these parts. Raises ``Missing``."""
    engine = default_engine()
    if away := [part for part in parts if not engine.parts[part].lives]:
        raise Missing(f"{', '.join(away)} does not run: make engine ARGS=small")
    return engine.variables(parts)
