"""Marquee: movie ratings, counted exactly, and the ten top-rated movies, always.

The tour. A rating travels one way, and the files are read in that order:

``ratings``      takes a user's rating and has it kept by user, durably, its event beside it
``relay``        brings the event from the store's outbox to the event log
``aggregation``  takes the events from the log and folds them into each movie's totals
``toprated``     draws the chart from the totals and keeps the ten in every reader's memory

Two side rooms serve lists: ``movies`` (the catalogue) and ``bestpictures`` (who won the Oscar).
``promises`` checks, and restores, that totals are what the ratings say.

They speak in the terms of ``model`` (plain data and the rules, pure), fail in those of ``errors``,
and ask of stores only what ``ports`` says. ``adapters`` answer the ports, a technology each;
``wiring`` picks them by URL, and alone imports them. Around it stand the entry points: ``http``,
``importers`` and ``cli``, with ``config`` for the settings.
"""

__version__ = "0.1.0"
