"""What ``benchmarks/peers.py`` is made of: generated sensors, fusion networks, one arm a peer, the race, its tables."""
