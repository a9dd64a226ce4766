"""Ports of this machine, on which pages are served."""

import socket
from urllib.parse import urlsplit

from pipeline.core.errors import PortError

# Pages are for whoever sits at this machine: they have no passwords.
HOST = "127.0.0.1"
# What this machine is called in an address that leads to itself.
OWN_NAMES = (HOST, "localhost")


def is_own_name(address: str) -> bool:
    """Returns whether an address, ``name`` or ``name:port``, is this machine's own name.

    A page from elsewhere can have its name lead here (DNS rebinding), and then read what is served: a browser takes
    both for one site. But it says the name that it went by.
    """
    try:
        return urlsplit(f"//{address}").hostname in OWN_NAMES
    except ValueError:
        return False


def check_port(port: int) -> None:
    """Checks that a page can be served on a port of this machine.

    Raises:
        PortError: It is in use, or not for everybody.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortError(f"port {port} cannot be used: {error.strerror}. Choose another one with --port") from None
