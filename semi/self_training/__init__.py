"""The rounds, and the folder they write."""
