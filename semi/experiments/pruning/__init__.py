"""What token pruning would cost and bring on one's own sounds."""
