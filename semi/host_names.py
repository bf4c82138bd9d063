"""Names of machines: what a request's Host header calls this one, and which only it can reach."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def host_name(host: str) -> str:
    """Returns the name in a Host header, in small letters and without its port, or ''."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018  (raises where it is no port)
    except ValueError:
        return ""
    plain = host and not set(host) & set("/?#@\\ ")
    return (parts.hostname or "") if plain else ""


def is_loopback(host: str) -> bool:
    """Says whether only this machine reaches an address or name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Says whether a host is numbers, which no name service answers for."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
