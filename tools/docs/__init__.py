"""Makes the documentation site: the reference from table and docstrings, the pictures from runs; `make docs`."""
