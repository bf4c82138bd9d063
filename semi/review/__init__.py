"""What a person is asked about a finished run, and what becomes of the answers."""
