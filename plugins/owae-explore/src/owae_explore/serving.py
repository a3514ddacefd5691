"""Runs the server in a thread, and measures how long it takes to answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import math
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import torch
import uvicorn

from owae_explore.page import explore_page
from owae_explore.server import application, is_loopback
from owae_explore.session import Session

logger = logging.getLogger(__name__)

MOVES = 200


def bound(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound to a host and port.

    Raises:
        OSError: It cannot be.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends answers at once only where TCP is named
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


@contextlib.contextmanager
def serving(session: Session, name: str, host: str, listening: socket.socket) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serves a session for as long as the block runs; gives its address, and what waits for the server's end."""
    port = listening.getsockname()[1]
    if not is_loopback(host):
        logger.warning("listening on %s: whoever reaches this machine can look into the run; there is no password", host)
    app = application(session, explore_page(name, session), host, port)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", server_header=False, access_log=False, lifespan="off", ws="none")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    while not server.started and thread.is_alive():
        time.sleep(0.005)

    def wait() -> None:
        while thread.is_alive():
            thread.join(0.5)

    try:
        yield f"http://{shown}:{port}/", wait
    finally:
        server.should_exit = True
        thread.join(10)


def measured(session: Session, address: str) -> str:
    """Moves in the plane of the deepest level as a page does, and says how long an answer takes."""
    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=60)
    size = math.prod(session.stack.layers[-1].latent_shape)
    generator, times, used = random.Random(0), [], 0.0
    for _ in range(MOVES + 10):
        z = [generator.gauss(0, 1) for _ in range(size)]
        sent = json.dumps({"level": session.stack.depth, "z": z, "noise": {1: 3}})
        begun = time.perf_counter()
        connection.request("POST", "/ask/descend", sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        times.append(1000 * (time.perf_counter() - begun))
        if len(times) == 10:  # that many warm up
            used = time.process_time()
    used = 1000 * (time.process_time() - used) / MOVES
    connection.close()
    times = sorted(times[10:])
    median, most = statistics.median(times), times[int(0.95 * len(times))]
    return (
        f"a move takes {median:.1f} ms (median), {most:.1f} ms (95%), of {MOVES} moves, {used:.1f} ms of a core each, with "
        f"{torch.get_num_threads()} threads: the code decoded through {session.stack.depth} levels, and from each of them"
    )
