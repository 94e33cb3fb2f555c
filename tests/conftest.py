"""What tests stand on: the shared data, real peers, and a served node.

Data lies beside the checkout and peers are installed by `scripts/peers`; a test that lacks one says which and is
skipped, or fails where REQUIRE_PEERS=1 asks for all of them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import ROOT, Node, Orthanc, lacking, program


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        lacking("../shared/data")
    return folder


@pytest.fixture(scope="session")
def tools() -> Path:
    """The shared tools beside the checkout."""
    folder = ROOT.parent / "shared" / "tools"
    if not folder.is_dir():
        lacking("../shared/tools")
    return folder


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Starts nodes: `serve("--deliver-to", ...)`; each ends with the test. `home` may be given to serve it again."""
    nodes: list[Node] = []

    def start(*options: str, home: Path | None = None) -> Node:
        node = Node(home or tmp_path / f"home{len(nodes)}", options)
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        node.stop()


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    """An Orthanc that takes everything."""
    server = Orthanc(program("/usr/sbin/Orthanc"), tmp_path / "orthanc")
    yield server
    server.stop()
