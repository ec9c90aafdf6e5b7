"""One technology each, behind the ports. Only ``wiring`` imports them."""
