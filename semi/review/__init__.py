"""A person in the loop: hear what a run learned, correct it, and know what to label next."""
