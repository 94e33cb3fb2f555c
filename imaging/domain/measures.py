"""What is measured of a finding: the names that cards use, and what each is in a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imaging.domain.codes import Code
from imaging.domain.findings import Finding, Measurement


@dataclass(frozen=True)
class Measure:
    """`code`, UCUM `unit` and `decimals` of a measurement. `modality`: the only one whose images have it. `inputs`: the
    kinds of input that it is taken of.
    """

    code: Code
    unit: str
    decimals: int
    modality: str = ""
    inputs: tuple[str, ...] = ("volume",)

    def of(self, value: float) -> Measurement:
        """The value as a report says it."""
        return Measurement(self.code, round(value, self.decimals), self.unit)

    def value_in(self, finding: Finding) -> float | None:
        """What a finding says was measured in this unit; None where nothing was."""
        same = (each.value for each in finding.measurements if (each.code, each.unit) == (self.code, self.unit))
        return next(same, None)


VOLUME: Final = Measure(Code("SCT", "118565006", "Volume"), "ml", 2)
MEASURES: Final[Mapping[str, Measure]] = {
    "volume_ml": VOLUME,
    "area_mm2": Measure(Code("SCT", "42798000", "Area"), "mm2", 1, inputs=("film",)),
    "max_diameter_mm": Measure(Code("SCT", "81827009", "Diameter"), "mm", 1, inputs=("film", "volume")),
    "mean_hu": Measure(Code("DCM", "112031", "Attenuation Coefficient"), "[hnsf'U]", 1, modality="CT"),
}
COUNT: Final = Measure(Code("SCT", "246205007", "Quantity"), "1", 0, inputs=("film", "volume"))
"""Of boxes: how many reach the threshold."""
PIXELS: Final = "{pixels}"
"""The unit of a length or an area on a film whose pixels have no size that is known (UCUM, an annotation)."""
CENTROID: Final = "centroid"
"""Measured as well, and no number: the finding's place."""
