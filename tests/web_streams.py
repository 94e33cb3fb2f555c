"""The stream of events of a site, as an open page hears it."""

import contextlib
import json
from collections.abc import Iterable, Iterator

from web_site import Site


def events(answer: Iterable[bytes]) -> Iterator[tuple[str, str | None, object]]:
    """The events of a stream, as (kind, id, data)."""
    data: dict[str, str] = {}
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            data[name] = value
        elif "event" in data:
            yield data["event"], data.get("id"), json.loads(data["data"])
            data = {}
        else:
            data = {}


@contextlib.contextmanager
def stream(site: Site, since: str, **headers: str) -> Iterator[Iterator[tuple[str, str | None, object]]]:
    connection = site.connect()
    with contextlib.closing(connection):
        connection.request("GET", f"/events?since={since}", headers=headers)
        answer = connection.getresponse()
        assert answer.getheader("Content-Type", "").startswith("text/event-stream")
        assert answer.getheader("Cache-Control") == "private, no-store"
        yield events(answer)


def mark_of(site: Site) -> str:
    page = site.ask("/rows", form={})[1]
    return page.split('data-mark="')[1].split('"')[0]
