"""Which addresses a mesh has: a /16 of its own inside 127.64.0.0/10 for its Services.

With Services on the loopback interface an admission webhook of kind *service* reaches a process on this machine:
istiod listens on the very ClusterIP of its Service. So every mesh needs a range that no other one has.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import psutil

_ALL = ipaddress.ip_network("127.64.0.0/10")
_PREFIX = 16


def first_free(taken: Iterable[str]) -> str | None:
    """The first range that none of the `taken` addresses or ranges overlaps; None when all 64 are taken."""
    used = [ipaddress.ip_network(item) for item in taken]
    free = (candidate for candidate in _ALL.subnets(new_prefix=_PREFIX) if not any(candidate.overlaps(u) for u in used))
    return next((str(candidate) for candidate in free), None)


def listening() -> set[str]:
    """The addresses of our block on which something listens, e.g. a mesh of another user of this machine."""
    found = psutil.net_connections("tcp4")
    addresses = {ip for ip, *_ in (c.laddr for c in found if c.laddr and c.status == psutil.CONN_LISTEN)}
    return {address for address in addresses if ipaddress.ip_address(address) in _ALL}


def probe_address() -> str:
    """An address on which the machine's right to bind can be tried."""
    return str(_ALL.network_address + 1)
