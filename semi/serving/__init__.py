"""A finished run as a service: sounds and texts come in over HTTP, calibrated labels go out."""
