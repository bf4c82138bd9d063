"""`python -m semi.config` prints configs/default.yaml."""

from .defaults import documented_default

print(documented_default(), end="")
