"""Renders every file that follows from ``torchinit/_core/registry.py``."""
