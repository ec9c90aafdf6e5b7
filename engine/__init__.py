"""The servers that Marquee grows into, on this machine, from packages: ``python3 -m engine``.

The tour. A *server* is a child process with a folder of its own (``server``). A *part* is what
answers one role: one server or several that know each other (``part``). Each technology has its
module: ``cassandra``, ``kafka``, ``postgres``, ``redis``, ``rabbitmq``. ``engine`` puts the parts
into one folder and starts, stops and names them; ``packages`` brings what they are made of.

Everything listens on loopback, at ports that nobody else uses by default. Nothing but Python's
standard library is needed, on Linux.
"""
