"""Which requests are answered: by the name that was asked for, by the page they come from, by how many are open."""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peers import imaging
from web_site import Site
from web_streams import mark_of, stream

from imaging.web import app, serving
from imaging.web.settings import LOOPBACK, host_faults


def status_of(site: Site, method: str, path: str, **headers: str) -> int:
    with contextlib.closing(site.connect()) as connection:
        connection.request(method, path, "q=", headers)
        return int(connection.getresponse().status)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Origin": "http://evil.example", "Host": "localhost"},
        {"Origin": "http://localhost:1", "Host": "localhost:2"},
        {"Origin": "null"},
        {"Origin": ""},
    ],
)
@pytest.mark.parametrize("path", ["/", "/rows"])
def test_a_form_of_another_site_is_refused(site: Site, path: str, headers: dict[str, str]) -> None:
    assert status_of(site, "POST", path, **headers) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://LOCALHOST:8080", "Host": "localhost:8080"},
        {"Origin": "https://[::1]:80", "Host": "[::1]:80"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/rows"])
def test_a_form_of_our_own_page_or_of_no_browser_is_answered(site: Site, path: str, headers: dict[str, str]) -> None:
    assert status_of(site, "POST", path, **headers) == 200


def test_a_link_of_another_site_leads_to_the_pages(site: Site) -> None:
    assert status_of(site, "GET", "/", **{"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}) == 200


def test_a_configured_name_is_answered_and_no_other(site_of: Callable[..., Site]) -> None:
    site = site_of(hosts=frozenset({*LOOPBACK, "worklist.hospital.example"}))
    assert status_of(site, "GET", "/", Host="Worklist.Hospital.example:8443") == 200
    assert status_of(site, "GET", "/", Host="other.hospital.example") == 421


def test_the_page_answers_under_the_address_that_it_listens_on_and_under_its_settings_names(
    serve: Callable[..., Any],
) -> None:
    options = ["--role", "web", "--web-host", "127.0.0.2", "--web-hosts", "Worklist.example", "--web-port", "0"]
    node = serve(*options)
    assert node.url.startswith("http://127.0.0.2:")
    port = int(node.url.rstrip("/").rpartition(":")[2])
    data = {}
    for host in ("127.0.0.2", f"127.0.0.2:{port}", "worklist.example", "localhost", "127.0.0.3"):
        with socket.create_connection(("127.0.0.2", port), 10) as connection:
            connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            data[host] = connection.makefile("rb").readline().split()[1]
    assert data.pop("127.0.0.3") == b"421"
    assert b"421" not in data.values()


@pytest.mark.parametrize("name", ["worklist", "w.example", "10.0.0.7", "[fe80::1]"])
def test_a_name_of_a_host_may_be_configured(name: str) -> None:
    assert host_faults(name) == []


@pytest.mark.parametrize("name", ["", "http://w.example", "w.example:80", "w/x", "*", "a b", "fe80::1"])
def test_what_is_no_name_of_a_host_is_refused_with_the_form_wanted(name: str, tmp_path: Path) -> None:
    assert host_faults(name)
    if name == "w/x":
        done = imaging("serve", "--home", str(tmp_path), "--web-hosts", name)
        assert done.returncode == 2
        assert "--web-hosts 'w/x' is not a host name" in done.stderr


def test_no_more_pages_hear_of_changes_than_may_be_open_and_one_that_ends_makes_room(
    site_of: Callable[..., Site],
) -> None:
    site = site_of(max_pages=2, heartbeat_s=0.05)
    mark = mark_of(site)
    with stream(site, mark) as first:
        next(first)
        with stream(site, mark) as second:
            next(second)
            with contextlib.closing(site.connect()) as third:
                third.request("GET", f"/events?since={mark}")
                answer = third.getresponse()
                assert (answer.status, answer.getheader("Retry-After")) == (503, "10")
            assert site.ask("/")[0].status == 200
    for _ in range(200):  # a stream notices at its next beat that its reader has left
        if status_of_stream(site, mark) == 200:
            break
    else:
        pytest.fail("no place became free")


def status_of_stream(site: Site, mark: str) -> int:
    with contextlib.closing(site.connect()) as connection:
        connection.request("GET", f"/events?since={mark}")
        return int(connection.getresponse().status)


def test_a_connection_that_is_not_read_is_ended_by_the_kernel(site: Site) -> None:
    with contextlib.closing(site.connect()) as connection:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        accepted = socket_with_peer(connection.sock.getsockname())
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == serving.UNREAD_MS
        accepted.close()


def socket_with_peer(address: tuple[str, int]) -> socket.socket:
    """The server's end of a connection: the server runs in this process."""
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found = socket.socket(fileno=os.dup(int(each.name)))
            if found.getpeername() == address:
                return found
            found.close()
    raise AssertionError(f"nobody speaks to {address}")


def test_a_form_that_does_not_arrive_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "FORM_S", 0.1)
    with socket.create_connection(("127.0.0.1", site.port), 10) as connection:
        connection.sendall(b"POST /rows HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nq")
        answer = connection.makefile("rb").read()  # up to the end of the connection
    assert answer.startswith(b"HTTP/1.1 408")
