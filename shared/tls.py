"""TLS to a Redis or a RabbitMQ: one set of URL parameters for both, and what each client library calls them.

==========================  ========================================================================================
``?ssl_ca_certs=``          file with the certificates of the CA that signed the server's; else the system's CAs
``?ssl_certfile=``          our own certificate, for servers that ask for one (PEM; may hold the key too)
``?ssl_keyfile=``           its key
``?ssl_check_hostname=no``  take a certificate of another name than the host's, as long as the CA signed it
``?ssl_cert_reqs=none``     take any certificate: encrypted, but not safe from who sits in between
==========================  ========================================================================================
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

OPTIONS: Final = frozenset(
    {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_cert_reqs"}
)
_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server proves who it is, and how we do."""

    ca: str | None = None
    """File of the CA's certificates; None: the system's."""
    certificate: str | None = None
    key: str | None = None
    verifies: bool = True
    """Whether the certificate must be the CA's."""
    checks_name: bool = True
    """Whether it must be that of the host."""

    def for_redis(self) -> dict[str, Any]:
        """Return redis-py's options, which are kombu's for Redis too."""
        return {
            "ssl_cert_reqs": ssl.CERT_REQUIRED if self.verifies else ssl.CERT_NONE,
            "ssl_check_hostname": self.verifies and self.checks_name,
            "ssl_ca_certs": self.ca,
            "ssl_certfile": self.certificate,
            "ssl_keyfile": self.key,
        }

    def for_amqp(self) -> dict[str, Any]:
        """Return py-amqp's options."""
        found: dict[str, Any] = {
            "cert_reqs": ssl.CERT_REQUIRED if self.verifies else ssl.CERT_NONE,
            "ca_certs": self.ca,
            "certfile": self.certificate,
            "keyfile": self.key,
        }
        if self.verifies and self.checks_name:
            # None: kombu fills in the host that is in use; a name is what makes py-amqp check it.
            found["server_hostname"] = None
        return found


def parse(options: Mapping[str, str]) -> Tls:
    """Read the ``ssl_...`` parameters of a URL. Raises ValueError with what is wrong."""
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in options and not Path(options[name]).is_file():
            raise ValueError(f"{name} names no file that can be found here")
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise ValueError("ssl_keyfile needs ssl_certfile beside it")
    requirement = options.get("ssl_cert_reqs", "required").lower()
    if requirement not in {"required", "none"}:
        raise ValueError("ssl_cert_reqs is neither required nor none")
    check = options.get("ssl_check_hostname", "yes").lower()
    if check not in _YES | _NO:
        raise ValueError("ssl_check_hostname is neither yes nor no")
    return Tls(
        ca=options.get("ssl_ca_certs"),
        certificate=options.get("ssl_certfile"),
        key=options.get("ssl_keyfile"),
        verifies=requirement == "required",
        checks_name=check in _YES,
    )
