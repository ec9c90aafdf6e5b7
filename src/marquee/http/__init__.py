"""The wire: a module per service, each a table of calls; ``calls`` answers them all alike.

``app`` puts them together behind the precomputed answers. What a caller did wrong, and what is
away, becomes a problem document in ``problems``.
"""
