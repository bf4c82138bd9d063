"""By which names a service may be called, where nobody needs a token.

A page of another site can point a name of its own at this machine (DNS rebinding) and then read
what is served to that name; the browser says in the Host header which name it believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import SemiError
from ..host_names import host_name, is_address, is_loopback

EVERYWHERE = ("0.0.0.0", "::")  # addresses that stand for all of this machine's


@dataclass(frozen=True)
class CalledAs:
    """The names and addresses of a service."""

    bound: str  # as --host has it
    names: frozenset[str] = frozenset()  # further ones

    def problem(self, hosts: list[str]) -> str:
        """Returns why a request with these Host headers is refused; '' where it is not."""
        name = host_name(hosts[0]).rstrip(".") if len(hosts) == 1 else ""
        if is_loopback(name) or name == self.bound.lower() or name in self.names:
            return ""
        if self.bound in EVERYWHERE and is_address(name):
            return ""  # which one it is depends on the network; no page can point it elsewhere
        own = "its address" if self.bound in EVERYWHERE else self.bound
        if len(hosts) != 1:
            return (
                f"a request needs one Host header, which names this service: localhost or {own}; "
                f"this one has {len(hosts) or 'none'}"
            )
        return (
            f"this service is called localhost or {own}, not '{(name or hosts[0])[:80]}'; start it "
            "with --allow-host NAME to call it so, or with --token"
        )


def called_as(bound: str, names: Sequence[str]) -> CalledAs:
    """Returns the names of a service that listens at `bound`; SemiError names one that is none."""
    for name in names:
        if not is_address(name) and not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.?", name):
            raise SemiError(
                f"--allow-host takes a name as labels.example.org, without http:// and without a "
                f"port, got '{name}'"
            )
    plain = {name.lower().rstrip(".") for name in names}
    return CalledAs(bound, frozenset(plain))
