"""Studies that come again as PACSs send them: compressed, renamed, or both. Ordinary studies stay ordinary."""

import copy
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import imagecodecs
import pytest
from films import encoded
from peers import Node, eventually
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, JPEG2000Lossless
from small_models import write_models

from imaging.dicom_node.sending import Sender
from imaging.domain.peers import Address
from imaging.domain.retry import Accepted
from imaging.phantoms.study import film_study, head_study


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("copies")
    options = ["--models", str(write_models(folder / "models")), "--revision-interval-s", "0.5"]
    options += ["--volume-quiet-s", "0.5", "--film-quiet-s", "0.5"]
    served = Node(folder / "home", options)
    yield served
    served.stop()


def head(run: str) -> list[Dataset]:
    return list(head_study(3, False, datetime.now(UTC), run=run, slices=12, size=64).instances)


def films(run: str) -> list[Dataset]:
    return list(film_study(2, frozenset(), datetime.now(UTC), run=run, rows=128, columns=128).instances)


def changed(images: Sequence[Dataset], change: Callable[[Dataset], object]) -> list[Dataset]:
    made = [copy.deepcopy(each) for each in images]
    for each in made:
        change(each)
    return made


def put(**elements: object) -> Callable[[Dataset], object]:
    def change(image: Dataset) -> None:
        for keyword, value in elements.items():
            setattr(image, keyword, value)

    return change


def lossless(image: Dataset) -> None:
    image.PixelData = encapsulate([imagecodecs.jpeg2k_encode(image.pixel_array, level=0, reversible=True)])
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless


def lossy(image: Dataset) -> None:
    image.PixelData = encapsulate([imagecodecs.jpeg2k_encode(image.pixel_array, level=75, reversible=False)])
    image.file_meta.TransferSyntaxUID = JPEG2000
    image.LossyImageCompression, image.ImageType = "01", ["DERIVED", "SECONDARY", *list(image.ImageType)[2:]]


def after(node: Node, images: Sequence[Dataset], sender_title: str = "PACS") -> dict[str, Any]:
    """The study's story once these were sent and all is done."""
    sender = Sender(Address("IMAGING", "127.0.0.1", node.dicom_port), sender_title)
    assert all(isinstance(sender.send(encoded(image)), Accepted) for image in images)
    sender.close()
    eventually(node.at_rest, 60, "an end of the work")
    (story,) = node.status("--study", str(images[0].StudyInstanceUID))["studies"]
    return dict(story)


def is_plain(story: dict[str, Any]) -> bool:
    """Whether the last answer speaks of all images, and nothing is in doubt."""
    last = story["results"][-1]
    return (last["state"], last["in_part"], last["conflicts"], story["conflicts"]) == ("analysed", False, 0, 0)


@pytest.mark.parametrize("draw", [head, films])
@pytest.mark.parametrize("compress", [lossless, lossy])
def test_a_study_that_is_sent_again_compressed_keeps_its_one_answer(
    node: Node, draw: Callable[[str], list[Dataset]], compress: Callable[[Dataset], None]
) -> None:
    images = draw(compress.__name__)
    assert is_plain(after(node, images, "MODALITY"))
    story = after(node, changed(images, compress))
    assert is_plain(story)
    assert {each["state"] for each in story["copies"]} == {"noted"}
    assert (len(story["results"]), story["corrections"]) == (1, 0)


@pytest.mark.parametrize("draw", [head, films])
@pytest.mark.parametrize(
    "mend",
    [put(PatientName="Mended^Name"), put(PatientBirthDate="19511112"), put(ViewPosition="PA", SeriesDescription="new")],
    ids=["name", "birth date", "view"],
)
def test_a_study_that_is_sent_again_mended_has_one_newer_plain_answer(
    node: Node, draw: Callable[[str], list[Dataset]], mend: Callable[[Dataset], object], request: Any
) -> None:
    images = changed(draw(request.node.name), put(ViewPosition="AP"))
    after(node, images, "MODALITY")
    story = after(node, changed(images, mend))
    assert is_plain(story)
    assert (len(story["results"]), story["corrections"]) == (2, len(images))


def test_a_study_with_another_slice_under_one_uid_is_analysed_and_nothing_in_it_is_called_absent(node: Node) -> None:
    images = head("another slice")
    after(node, images, "MODALITY")
    (other,) = changed(images[5:6], lambda image: setattr(image, "PixelData", images[6].PixelData))
    story = after(node, [other])
    last = story["results"][-1]
    assert (story["conflicts"], last["state"], last["conflicts"], last["in_part"]) == (1, "analysed", 1, True)
    assert False not in [each["present"] for each in last["findings"]]
    assert last["conflicts"] == 1
