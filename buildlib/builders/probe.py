"""Finds out why a node does not answer: buildx only says that it does not."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from buildlib.builders.commands import files_of
from buildlib.config.builders import NodeSettings

_TIMEOUT: Final = 5.0
_PATIENCE: Final = 1.0
_FRAME: Final = 9
_SETTINGS: Final = b"\x04"
# The first bytes of a gRPC client (RFC 9113, 3.4), with settings that are empty.
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def why_unreachable(node: NodeSettings, root: Path) -> str:
    """Return why a node does not answer, as far as a connection shows; empty: it does not show.

    Args:
        node: a node of the driver remote.
        root: the project's, which files are relative to.
    """
    address = urlsplit(node.endpoint)
    try:
        host, port = address.hostname, address.port
    except ValueError:
        return ""
    if address.scheme != "tcp" or not host or not port:
        return ""
    try:
        return _talk(node, root, host, port)
    except OSError as error:
        return _reason(error, f"{host}:{port}")


def _reason(error: OSError, where: str) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return _alert(error)
        case TimeoutError():
            return f"{where} did not answer within {_TIMEOUT:g} s"
        case _:
            return f"{where}: {error.strerror or error}"


def _alert(error: ssl.SSLError) -> str:
    text = (error.reason or str(error)).replace("_", " ").lower()
    return f"it refuses the certificate ({text})" if "alert" in text else f"TLS failed: {text}"


def _context(node: NodeSettings, root: Path) -> ssl.SSLContext:
    files = files_of(node, root)
    context = ssl.create_default_context(cafile=str(files["cacert"]))
    context.set_alpn_protocols(["h2"])
    if "cert" in files:
        # buildx can't use a key with a pass phrase: do not ask for one.
        context.load_cert_chain(files["cert"], files["key"], password="")
    return context


def _talk(node: NodeSettings, root: Path, host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=_TIMEOUT) as plain:
        if not node.cacert:
            return _answer(plain, secured=False)
        name = node.servername or host
        with _context(node, root).wrap_socket(plain, server_hostname=name) as secure:
            return _answer(secure, secured=True)


def _answer(connection: socket.socket, *, secured: bool) -> str:
    # A daemon sends its settings first. To send before it has checked our certificate would lose
    # its reason: what it sent is thrown away where it has closed the connection meanwhile.
    connection.settimeout(_PATIENCE)
    try:
        said = connection.recv(_FRAME)
    except TimeoutError:
        connection.settimeout(_TIMEOUT)
        connection.sendall(_PREFACE)
        said = connection.recv(_FRAME)
    if said[3:4] == _SETTINGS:
        return ""
    return "it speaks no gRPC" if secured else "it speaks no gRPC, or wants TLS"
