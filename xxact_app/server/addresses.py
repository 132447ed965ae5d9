"""The addresses that the app may be served on."""

from __future__ import annotations

import ipaddress

from xxact_core.errors import InputError


def is_loopback(address: str) -> bool:
    """Whether an address, `localhost` or an IP address, can only be reached from this machine."""
    if address == "localhost":
        return True
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(number, "ipv4_mapped", None) or number).is_loopback


def check_address(address: str, *, authenticated: bool) -> None:
    """Refuse to serve without a login on addresses that other machines can reach.

    Raises:
        InputError: other machines can reach the address, and there is no login (E_APP).
    """
    if not authenticated and not is_loopback(address):
        msg = f"other machines can reach {address}, which needs a login: serve the app on 127.0.0.1, or add a login "
        msg += "(xxact app --basic-auth FILE or --oauth PROVIDER)"
        raise InputError(msg, code="E_APP")
