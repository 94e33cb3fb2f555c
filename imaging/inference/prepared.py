"""A study as a network takes it: what readers leave, engines run and decoders read the outputs by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from imaging.domain.coverage import Coverage
from imaging.domain.findings import ImageRef
from imaging.domain.grid import FilmGrid, Grid
from imaging.inference.volume import Volume
from imaging.preparation.array import Tensor


@dataclass(frozen=True)
class Item:
    """What the network is run on once: a film, or a stack of slices.

    `arrays`: by the role that each plays, (channels, *sizes). `images`: the instances that it was made of.
    """

    arrays: Mapping[str, Tensor]
    images: tuple[ImageRef, ...]


@dataclass(frozen=True)
class FilmItem(Item):
    """A film. `grid`: where the arrays' pixels lie on it. `size`: its rows and columns as it is stored. `pixel_mm`: the
    size of a pixel at the detector, (between rows, between columns); None where nothing says it. `axes`: as of a stack.
    """

    grid: FilmGrid
    size: tuple[int, int]
    pixel_mm: tuple[float, float] | None = None
    axes: str = "yx"


@dataclass(frozen=True)
class StackItem(Item):
    """A stack of slices. `volume`: as it was read; `grid`: where the arrays' voxels lie. `acquisition`: which one it is
    part of; stacks of one acquisition are one whole, in which each place of the patient counts once. `axes`: by its
    letter, x, y or z, what each of the arrays' axes is (`preparation.registry.axes_of`).
    """

    volume: Volume
    grid: Grid
    acquisition: int = 0
    axes: str = "zyx"


@dataclass(frozen=True)
class Prepared:
    """`items`: at least one. `facts`: how they were made, for the report."""

    images: tuple[ImageRef, ...]
    coverage: Coverage
    items: tuple[Item, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
