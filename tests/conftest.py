"""What tests stand on: the shared data, real peers, and a served node.

Data lies beside the checkout and peers are installed by `scripts/peers`; a test that lacks one says which and is
skipped, or fails where REQUIRE_PEERS=1 asks for all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from peers import ROOT, Node, Orthanc, missing_peer, program

from imaging.phantoms.study import PhantomStudy, film_study, head_study

SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data beside the checkout."""
    if not SHARED.is_dir():
        missing_peer("../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def tools() -> Path:
    """The shared tools beside the checkout."""
    folder = ROOT.parent / "shared" / "tools"
    if not folder.is_dir():
        missing_peer("../shared/tools")
    return folder


@pytest.fixture(scope="session")
def chest_films(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Chest films as sites send them; where the shared data is missing, drawn ones."""
    real = sorted((SHARED / "cxr" / "dicom").glob("*.dcm"))
    return real or drawn(tmp_path_factory.mktemp("films"), [film(seed) for seed in range(6)])


@pytest.fixture(scope="session")
def head_ct(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """The slices of a head CT of a person; where the shared data is missing, of a drawn head."""
    real = sorted((SHARED / "ct" / "ge_head_human").glob("*.dcm"))
    return real or drawn(tmp_path_factory.mktemp("head"), [head_study(1, False, datetime.now(UTC), slices=28)])


def film(seed: int) -> PhantomStudy:
    return film_study(seed, frozenset({"effusion"} if seed % 2 else ()), datetime.now(UTC), rows=512, columns=512)


def drawn(folder: Path, studies: Iterable[PhantomStudy]) -> list[Path]:
    """Writes each instance of the studies into `folder`."""
    files: list[Path] = []
    for image in (image for study in studies for image in study.instances):
        files.append(folder / f"{len(files):03}.dcm")
        image.save_as(files[-1], enforce_file_format=True)
    return files


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
