"""How a film lies in its frame, as its Patient Orientation says (PS3.3 C.7.6.1.1.1), and how it is turned upright.

The first value is the direction of the patient in which a row runs, the second that of a column: `L\\F` is a film as it
is hung, the patient's left at the right and the feet below. Compound values count by their first letter.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from imaging.domain.header import Header
from imaging.domain.peers import is_same_title

if TYPE_CHECKING:  # who reads settings has no arrays
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T", bound="np.generic")

_AXES: Final = {"L": "x", "R": "x", "A": "y", "P": "y", "H": "z", "F": "z"}
ANYBODY: Final = "*"
"""In place of an AE title: whoever sent it."""


@dataclass(frozen=True)
class Reorientation:
    """From the frame as it is stored to the upright film: rows and columns change places, then each may be reversed."""

    is_transposed: bool = False
    reverses_rows: bool = False
    reverses_columns: bool = False

    def __bool__(self) -> bool:
        return self != AS_IT_IS

    def upright(self, stored: "NDArray[T]") -> "NDArray[T]":
        """A view of an array that is (rows, columns) as stored, as the film is to be seen."""
        turned = stored.T if self.is_transposed else stored
        return turned[:: -1 if self.reverses_rows else 1, :: -1 if self.reverses_columns else 1]

    def stored(self, row: float, column: float, rows: int, columns: int) -> tuple[float, float]:
        """Where a place of the upright film, (row, column), lies as stored. `rows`, `columns`: of the upright film."""
        down = rows - 1 - row if self.reverses_rows else row
        across = columns - 1 - column if self.reverses_columns else column
        return (across, down) if self.is_transposed else (down, across)

    def size(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns after the turn; and, since it is the same swap, before it."""
        return (columns, rows) if self.is_transposed else (rows, columns)


AS_IT_IS: Final = Reorientation()


def reorientation_of(patient_orientation: Sequence[str]) -> Reorientation:
    """What brings a film from the front to `L\\F`; nothing where the values are absent, odd, or of a side."""
    along, down = _directions(patient_orientation)
    if {_AXES.get(along), _AXES.get(down)} != {"x", "z"}:
        return AS_IT_IS
    return Reorientation(_AXES[along] == "z", "H" in (along, down), "R" in (along, down))


def is_from_the_side(patient_orientation: Sequence[str]) -> bool:
    """Whether front and back lie in the plane of the film, so that it is none from the front."""
    return any(_AXES.get(each) == "y" for each in _directions(patient_orientation))


def _directions(patient_orientation: Sequence[str]) -> tuple[str, str]:
    """The main direction of a row and of a column; empty where a value is not understood."""
    along, down = (_main(each) for each in (*patient_orientation, "", "")[:2])
    return along, down


def _main(value: str) -> str:
    """The first letter of a direction; empty unless each letter is one of a patient's who stands, of an axis of its
    own."""
    letters = value.strip().upper()
    axes = [_AXES.get(letter) for letter in letters]
    return letters[:1] if None not in axes and len(set(axes)) == len(axes) else ""


def with_trusted_orientation(header: Header, untrusted_senders: Collection[str]) -> Header:
    """The header without its Patient Orientation, where it came from one of those (AE titles) whose counts for
    nothing."""
    is_among = any(each == ANYBODY or is_same_title(header.sender, each) for each in untrusted_senders)
    if header.patient_orientation and is_among:
        return replace(header, patient_orientation=())
    return header
