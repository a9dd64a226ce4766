"""Ports of this machine, on which pages are served."""

import socket

from pipeline.errors import PortError

# Pages are for whoever sits at this machine: they have no passwords.
HOST = "127.0.0.1"


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
