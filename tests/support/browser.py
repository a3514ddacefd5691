"""Debian's Chromium, driven over the DevTools protocol: what a page does when it is looked at and dragged in."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LIMIT = 300.0  # seconds that anything may take


def chromium() -> str:
    """The browser's program; without one the test is skipped, in continuous integration it fails."""
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("no chromium: `apt-get install chromium`")
    if found is None:
        pytest.skip("needs chromium")
    return found


class Page:
    """A page in a tab of its own, and what it said and loaded.

    Attributes:
        requests: Addresses that were asked for.
        complaints: Errors and warnings of its console, and exceptions.
    """

    def __init__(self, socket: Any) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, found = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(found["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(found["args"]))
        elif method == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.complaints.append(found["entry"]["text"])
        elif method == "Page.loadEventFired":
            self._loaded = True

    def open(self, address: str, *, width: int = 1200, height: int = 900, dark: bool = False, scale: float = 1) -> Page:
        """Loads an address at a size of the window, in pixels of CSS."""
        self._loaded = False
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.send("Page.navigate", url=address)
        while not self._loaded:
            self._note(json.loads(self._socket.recv()))
        return self

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        result = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, script: str) -> Any:
        """Waits until an expression is true, looking before each frame that is drawn."""
        wait = f"new Promise(done => {{const look = () => {{const it = ({script}); it ? done(it) : requestAnimationFrame(look)}}; look()}})"
        return self.run(wait)

    def drag(self, selector: str, *places: tuple[float, float]) -> None:
        """Presses at the first place, moves over the others and lets go; places are parts of the element's width and height."""
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.run(f"(b => [b.left, b.top, b.width, b.height])(document.querySelector({selector!r}).getBoundingClientRect())")
        at = [{"x": box[0] + x * box[2], "y": box[1] + y * box[3]} for x, y in places]
        self.send("Input.dispatchMouseEvent", type="mousePressed", button="left", buttons=1, clickCount=1, **at[0])
        for each in at[1:]:
            self.send("Input.dispatchMouseEvent", type="mouseMoved", button="left", buttons=1, **each)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", button="left", buttons=0, clickCount=1, **at[-1])

    def pixels(self, selector: str) -> tuple[list[int], int, int]:
        """RGBA of a canvas, row by row, its width and height."""
        return tuple(
            self.run(
                "(c => { const copy = new OffscreenCanvas(c.width, c.height).getContext('2d', {willReadFrequently: true});"
                "copy.drawImage(c, 0, 0); return [[...copy.getImageData(0, 0, c.width, c.height).data], c.width, c.height] })"
                f"(document.querySelector({selector!r}))"
            )
        )

    def overflow(self) -> int:
        """Pixels that the page is wider than its window."""
        return self.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Writes a screenshot."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(shot["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def printed(self, path: Path) -> None:
        """Writes the page as it would be printed on A4, a PDF."""
        found = self.send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=False, printBackground=True)
        path.write_bytes(base64.b64decode(found["data"]))


class Browser:
    """A running browser, which loads nothing by itself."""

    def __init__(self, program: str, folder: Path) -> None:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio"]
        flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
        flags += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "--remote-allow-origins=*", "about:blank"]
        log = folder / "log"
        with log.open("w") as stderr:  # a pipe that nobody reads on would hold it up when it is full
            self._process = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=stderr)
        self._port = self._listening(log)
        self._sockets: list[Any] = []

    def _listening(self, log: Path) -> int:
        """The port that it says it listens on."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and self._process.poll() is None:
            if found := re.search(r"^DevTools listening on ws://[^:]+:(\d+)/", log.read_text(), re.MULTILINE):
                return int(found[1])
            time.sleep(0.05)
        raise AssertionError(f"chromium did not start: {log.read_text()}")

    def page(self) -> Page:
        """Opens a tab."""
        from websocket import create_connection

        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        self._sockets.append(create_connection(address, timeout=LIMIT, suppress_origin=True))
        return Page(self._sockets[-1])

    def close(self) -> None:
        for socket in self._sockets:
            socket.close()
        self._process.terminate()
        self._process.wait(timeout=LIMIT)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a session."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = Browser(chromium(), Path(folder))
        yield made
        made.close()
