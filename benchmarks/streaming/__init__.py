"""What ``streaming.py`` is made of: a recording, the arms that play it, and the tables."""
