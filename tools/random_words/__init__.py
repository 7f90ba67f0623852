"""Streams the raw words of keys to standard output, for programs that test random numbers; see ``README.md``."""
