"""A server that hangs: it takes connections, reads nothing and answers nothing."""

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def silent_server() -> Iterator[tuple[str, int]]:
    """Host and port of a socket that the kernel accepts connections for, and nobody serves."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        host, port = listening.getsockname()[:2]
        yield host, port
