"""The port that a run's page, or a service, is served at."""

import errno
import ipaddress
import socket

from engine.contract.errors import UsageError

LOOPBACK = "127.0.0.1"

OPTIONS = ("--web", "--web-host")


class Port:
    """A port of this machine, bound before the run that is served there begins."""

    def __init__(
        self, number: int, host: str | None = None, options: tuple[str, str] = OPTIONS
    ) -> None:
        """Bind the port, 0 for any free one. Raises UsageError where it cannot be bound; `options`
        are those of the command line that name port and host."""
        self.host = host or LOOPBACK
        self.socket = _listen(self.host, number, options)

    @property
    def url(self) -> str:
        """The page's address."""
        host, port = self.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach it."""
        return not ipaddress.ip_address(self.socket.getsockname()[0]).is_loopback

    def close(self) -> None:
        """Release the port."""
        self.socket.close()


def _listen(host: str, port: int, options: tuple[str, str]) -> socket.socket:
    port_option, host_option = options
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(
            f"{host_option} {host}: {error.strerror}; give an address of this machine"
        ) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            why = "is taken; give another port, or 0 for any that is free"
        else:
            why = (
                f"is not to be had ({error.strerror}); give another {port_option} or {host_option}"
            )
        raise UsageError(f"{port_option} {port}: port {port} of {host} {why}") from None
    return listening
