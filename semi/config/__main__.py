"""`python -m semi.config` prints configs/default.yaml."""

from .schema import documented_default

print(documented_default(), end="")
