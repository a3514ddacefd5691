"""The server answers its own page alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from owae.errors import OwaeError
from owae_explore.cli import command
from owae_explore.server import JSON, UPLOAD, known_host
from owae_explore.serving import bound, serving
from owae_explore.session import Session


@pytest.fixture(scope="module")
def port(pictures) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        socket = stack.enter_context(contextlib.closing(bound("127.0.0.1", 0)))
        address, _ = stack.enter_context(serving(Session(pictures), "<i>run</i>", "127.0.0.1", socket))
        yield int(address.rstrip("/").rpartition(":")[2])


def ask(port: int, method: str, path: str, body: bytes | str | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=900)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return found


MOVE = json.dumps({"level": 2, "z": [0.0, 0.0], "noise": {"1": 3}})


def test_its_page_is_served_and_answered(port):
    status, page, headers = ask(port, "GET", "/", Origin=f"http://127.0.0.1:{port}", Sec_Fetch_Site="none")
    assert status == 200
    assert b"&lt;i&gt;run" in page
    assert "access-control-allow-origin" not in headers
    assert headers["x-frame-options"] == "DENY"
    status, answer, _ = ask(port, "POST", "/ask/descend", MOVE, Content_Type="application/json")
    assert status == 200
    assert len(json.loads(answer)["events"]) == 2
    assert ask(port, "GET", "/about", Host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1.evil.example:{port}"},
        {"Host": "192.168.0.1:{port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_hosts_and_origins_are_refused(port, headers):
    headers = {name: value.format(port=port) for name, value in headers.items()}
    for method, path in (("GET", "/"), ("GET", "/about"), ("POST", "/ask/descend")):
        status, body, _ = ask(port, method, path, MOVE if method == "POST" else None, Content_Type="application/json", **headers)
        assert status == 403
        assert b"events" not in body


def test_bodies_are_of_their_kind_and_size(port):
    assert ask(port, "POST", "/ask/descend", MOVE, Content_Type="text/plain")[0] == 400
    assert ask(port, "POST", "/own", b"x", Content_Type="multipart/form-data")[0] == 400
    assert ask(port, "POST", "/ask/descend", " " * (JSON + 1), Content_Type="application/json")[0] == 413
    assert ask(port, "POST", "/own", b"x" * (UPLOAD + 1), Content_Type="application/octet-stream")[0] == 413
    status, body, _ = ask(port, "POST", "/own", b"x", Content_Type="application/octet-stream")
    assert (status, b"no picture of a known format" in body) == (400, True)


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", "null", '{"level": "a"}', '{"level": 2, "z": null}', '{"level": 2, "z": [1, NaN]}', "[" * 5000]
)
def test_what_is_no_question_is_told(port, body):
    status, answer, _ = ask(port, "POST", "/ask/descend", body, Content_Type="application/json")
    assert status == 400
    assert json.loads(answer)["error"]


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/etc/passwd", "/static/x", "/ask/nothing", "/own?path=/etc/passwd"])
def test_no_path_leads_to_a_file(port, path):
    method = "POST" if path.startswith(("/ask", "/own")) else "GET"
    status, answer, _ = ask(port, method, path, "{}", Content_Type="application/json")
    assert status in (400, 404)
    assert b"root:" not in answer


def test_where_others_are_let_in_names_are_still_known():
    assert known_host("10.1.2.3:80", "0.0.0.0", 80)
    assert known_host("box.lan:80", "box.lan", 80)
    assert not known_host("evil.example:80", "0.0.0.0", 80)
    assert not known_host("", "127.0.0.1", 80)


def explore(*arguments: object):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_a_benchmark_says_how_long_a_move_takes(pictures):
    result = explore(pictures.folder, "--benchmark")
    assert result.exit_code == 0, result.output
    assert re.match(r"a move takes [\d.]+ ms \(median\), [\d.]+ ms \(95%\), of 200 moves, [\d.]+ ms of a core each", result.stdout)


def test_a_port_that_is_taken_is_told(pictures, port):
    result = explore(pictures.folder, "--port", port, "--no-browser")
    assert isinstance(result.exception, OwaeError)
    assert f"cannot listen on 127.0.0.1, port {port}" in str(result.exception)
