"""What goes wrong, in words for whoever typed the command."""


class EngineError(Exception):
    """Says what is missing or failed, and what to do."""
