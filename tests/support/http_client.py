"""For clients of servers on this machine, where nothing is encrypted."""

from __future__ import annotations

import ssl


def no_certificates() -> ssl.SSLContext:
    """Loading the machine's own takes a client longer than its request."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
