"""Whether a port can be had, asked before a server tries, and which addresses are of this machine or inside a private network."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_NAT64: Final = ip_network("64:ff9b::/96")


def port_trouble(bind: str, port: int, *, names: tuple[str, str] = ("PORT", "DEEDBOX_BIND")) -> str | None:
    """Return why nothing can listen there, in one sentence, or None; ``names`` are the settings to change.

    gunicorn itself would try for 5 s and fill the terminal. After USR2 or under systemd the socket is inherited.
    """
    if "GUNICORN_FD" in os.environ or "LISTEN_FDS" in os.environ:
        return None
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return (
                    f"{names[0]} {port} is taken by another process; stop it or set {names[0]} to a free one."
                )
            if error.errno == errno.EACCES:
                return f"{names[0]} {port} needs more rights than this user has; set {names[0]} to one above 1023."
            return f"{names[1]}: nothing can listen on {bind} ({error.strerror}); correct it or unset it."
    return None


def is_loopback(address: str) -> bool:
    """Tell whether an address is of this machine only; ``localhost`` is."""
    if address == "localhost":
        return True
    try:
        found = ip_address(address.strip("[]"))
    except ValueError:
        return False
    return found.is_loopback or bool(getattr(found, "ipv4_mapped", None) and found.ipv4_mapped.is_loopback)  # type: ignore[union-attr]


def is_inside(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address belongs to this machine or to a private network, also one that is written inside IPv6."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_inside(inner)
    return not address.is_global or address.is_multicast
