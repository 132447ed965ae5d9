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


def bare_address(address: str) -> str:
    """An address without the brackets in which an IPv6 address stands before a port: `::1` for `[::1]`."""
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def split_hosts(hosts: list[str]) -> tuple[list[str], list[str]]:
    """HOST:PORT of names and IPv4 addresses, and those of IPv6 addresses in brackets, in lower case.

    Raises:
        InputError: one of them is neither (E_APP).
    """
    plain: list[str] = []
    bracketed: list[str] = []
    for host in hosts:
        if host == "*":  # any host, as Bokeh takes it
            plain.append(host)
            continue
        name, colon, port = host.lower().rpartition(":")
        name, port = (name, port) if colon and not host.endswith("]") else (host.lower(), "80")
        if not port.isdecimal() and port != "*":
            msg = f"{host!r} is not a host: expected HOST:PORT, such as lab.example:5006 or [::1]:5006"
            raise InputError(msg, code="E_APP")
        if bare_address(name) != name:
            bracketed.append(f"{_checked_ipv6(name, host)}:{port}")
        elif name and ":" not in name:
            plain.append(f"{name}:{port}")
        else:
            msg = f"{host!r} is not a host: an IPv6 address stands in brackets before the port, as in [::1]:5006"
            raise InputError(msg, code="E_APP")
    return plain, bracketed


def _checked_ipv6(name: str, host: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(bare_address(name))}]"
    except ValueError as error:
        msg = f"{host!r} is not a host: {bare_address(name)!r} is not an IPv6 address"
        raise InputError(msg, code="E_APP") from error


APP_LOGIN = "a login (xxact app --basic-auth FILE or --oauth PROVIDER)"
"""What the app needs where other machines can reach it."""


def check_address(address: str, *, authenticated: bool, needed: str = APP_LOGIN) -> None:
    """Refuse to serve without a login on addresses that other machines can reach.

    Raises:
        InputError: other machines can reach the address, and there is no login (E_APP).
    """
    if not authenticated and not is_loopback(address):
        kind = needed.partition(" (")[0]
        msg = f"other machines can reach {address}, which needs {kind}: serve on 127.0.0.1, or add {needed}"
        raise InputError(msg, code="E_APP")
