"""The addresses that the app may be served on."""

from __future__ import annotations

import ipaddress

from xxact_core.errors import InputError


def is_loopback(address: str) -> bool:
    """Whether only programs of this machine reach an address, a number of IPv4 or IPv6 or the name `localhost`."""
    if address == "localhost":
        return True
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(number, "ipv4_mapped", None) or number).is_loopback


def check_address(address: str, *, authenticated: bool) -> None:
    """Whoever reaches the app reads what was dropped and starts trainings: outside of this machine only known people.

    Raises:
        InputError: other machines could reach the address, and nobody has to log in (E_APP).
    """
    if not authenticated and not is_loopback(address):
        msg = f"the app is not served on {address} to anybody who can reach it: serve it on 127.0.0.1, or let visitors "
        msg += "log in (xxact app --basic-auth FILE, or --oauth PROVIDER)"
        raise InputError(msg, code="E_APP")
