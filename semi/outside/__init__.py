"""Models outside of semi: what a language model behind an HTTP address makes of transcripts."""
