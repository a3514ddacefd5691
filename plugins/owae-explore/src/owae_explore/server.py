"""Answers the page of `owae explore`, and nobody else: requests from other pages and for other hosts are refused.

A page of the web could send requests to a server on the own machine, or, by a name that is made to point to 127.0.0.1, read its answers
(DNS rebinding). So the Host header must be an address or name of this server's, the Origin header, if there is one, the same; and bodies
must be of kinds that a foreign page cannot send without asking first. No request names a file.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from owae.errors import OwaeError
from owae_explore.session import Session, plain

logger = logging.getLogger(__name__)

UPLOAD = 16 * 2**20
JSON = 4 * 2**20
_HEADERS = {
    b"cache-control": b"no-store",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
}


class TooLargeError(Exception):
    """A body is larger than it may be."""


class Guard:
    """Refuses what does not come from the own page, and adds headers that keep others out.

    Args:
        app: The application.
        host: Where the server listens.
        port: Its port.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._app, self._host, self._port = app, host, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # there are no web sockets here
            return
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        site = headers.get("sec-fetch-site", ["same-origin"])
        if len(hosts) != 1 or not known_host(hosts[0], self._host, self._port):
            refusal = "this server answers only to its own address"
        elif any(origin != f"http://{hosts[0]}" for origin in origins) or any(each not in ("same-origin", "none") for each in site):
            refusal = "this server answers only its own page"
        else:

            async def answered(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", []), *_HEADERS.items()]
                await send(message)

            await self._app(scope, receive, answered)
            return
        logger.warning("refused a request for host %s from origin %s", hosts, origins)
        await PlainTextResponse(refusal + "\n", status_code=403)(scope, receive, send)


def known_host(header: str, host: str, port: int) -> bool:
    """Tells whether a Host header names this server.

    Where it listens on loopback: an address of loopback or localhost. Elsewhere also any address, which no foreign name can stand for,
    and the machine's own name.

    >>> known_host("127.0.0.1:80", "127.0.0.1", 80), known_host("evil.example:80", "127.0.0.1", 80), known_host("[::1]:80", "::1", 80)
    (True, False, True)
    >>> known_host("192.168.0.7:80", "127.0.0.1", 80), known_host("192.168.0.7:80", "0.0.0.0", 80)
    (False, True)
    """
    name, _, found = header.rpartition(":")
    if found != str(port):
        return False
    name = name.strip("[]").lower()
    loopback = is_loopback(host)
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or (not loopback and name in (host.lower(), socket.gethostname().lower()))
    return address.is_loopback or not loopback


def is_loopback(host: str) -> bool:
    """Tells whether a host is an address of loopback or localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def body(request: Request, kind: str, most: int) -> bytes:
    """Reads a body of a kind and at most so many bytes, and reads on no further."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != kind:
        raise ValueError(f"the body must be {kind}")
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > most:
            raise TooLargeError(f"the body has more than {most // 2**20} MB")
    return bytes(read)


def application(session: Session, page: str, host: str, port: int) -> ASGIApp:
    """Makes the application that serves a session."""

    def answering(read: Callable[[Request], Awaitable[Callable[[], dict[str, Any]]]]) -> Callable[[Request], Awaitable[Response]]:
        @functools.wraps(read)
        async def answer(request: Request) -> Response:
            try:
                compute = await read(request)
                return JSONResponse(await run_in_threadpool(locked, compute))
            except TooLargeError as error:
                return JSONResponse({"error": str(error)}, status_code=413, headers={"connection": "close"})
            except OwaeError as error:
                return JSONResponse({"error": plain(str(error))}, status_code=400)
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                return JSONResponse({"error": f"the request cannot be read: {plain(str(error))}"}, status_code=400)

        return answer

    def locked(compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        with session.lock:
            return compute()

    async def about(request: Request) -> Callable[[], dict[str, Any]]:
        return session.about

    async def asked(request: Request) -> Callable[[], dict[str, Any]]:
        found = json.loads(await body(request, "application/json", JSON))
        if not isinstance(found, dict):
            raise ValueError(f"found {type(found).__name__}; an object would work")
        what = request.path_params["what"]
        if what == "plane":
            level, pair = int(found["level"]), [int(each) for each in found["pair"]]
            return lambda: session.plane(level, str(found["kind"]), pair, found.get("through"))
        if what == "descend":
            noise = {
                int(level): None if seed is None else int(seed) % 2**32 for level, seed in dict(found.get("noise") or {}).items()
            }
            return lambda: session.descend(int(found["level"]), found["z"], noise)
        if what == "draw":
            return lambda: session.drawn(int(found["seed"]) % 2**32)
        if what == "example":
            return lambda: session.example(int(found["place"]))
        if what == "walk":
            return lambda: session.walk(int(found["level"]), int(found["label"]))
        raise KeyError(what)

    async def own(request: Request) -> Callable[[], dict[str, Any]]:
        content = await body(request, "application/octet-stream", UPLOAD)
        return lambda: session.own(content)

    async def index(request: Request) -> Response:
        return HTMLResponse(page)

    routes = [
        Route("/", index),
        Route("/about", answering(about)),
        Route("/own", answering(own), methods=["POST"]),
        Route("/ask/{what}", answering(asked), methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes), host, port)
