"""Renders every file that follows from the table in ``functions.py``."""
