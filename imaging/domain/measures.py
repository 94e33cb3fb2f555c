"""What is measured of a segment: the names that cards use, and what each is in a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imaging.domain.codes import Code
from imaging.domain.findings import Finding, Measurement


@dataclass(frozen=True)
class Measure:
    """`code`, UCUM `unit` and `decimals` of a measurement. `modality`: the only one whose images have it."""

    code: Code
    unit: str
    decimals: int
    modality: str = ""

    def of(self, value: float) -> Measurement:
        """The value as a report says it."""
        return Measurement(self.code, round(value, self.decimals), self.unit)

    def value_in(self, finding: Finding) -> float | None:
        """What a finding says was measured; None where nothing was."""
        return next((each.value for each in finding.measurements if each.code == self.code), None)


VOLUME: Final = Measure(Code("SCT", "118565006", "Volume"), "ml", 2)
MEASURES: Final[Mapping[str, Measure]] = {
    "volume_ml": VOLUME,
    "max_diameter_mm": Measure(Code("SCT", "81827009", "Diameter"), "mm", 1),
    "mean_hu": Measure(Code("DCM", "112031", "Attenuation Coefficient"), "[hnsf'U]", 1, modality="CT"),
}
CENTROID: Final = "centroid"
"""Measured as well, and no number: the finding's place."""
