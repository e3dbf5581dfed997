"""Mirrors a real tree from an origin through several mirrors, beside stock rsync on the same links. `python -m demo --help`."""
