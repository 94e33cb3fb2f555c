"""What only a person can tell of a model: where a card says FILL IN, why it is asked, and an example of an answer.

Such a card is whole but for that, and disabled: a key that is left out may have a default, and a default is no answer
to which finding a channel is, from which score on it counts, or whose images a model is for.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

FILL_IN: Final = "FILL IN"
"""The value of a key that is still to be filled in; text behind it does not matter."""
TO_FILL_IN: Final = "to-fill-in"
"""The name of the rule that it breaks."""
_INDEX: Final = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Wanted:
    """`why` a person is asked, and an `example`: a line that may stand in the card."""

    why: str
    example: str


def is_open(value: object) -> bool:
    """Whether a value of a card is still to be filled in."""
    return isinstance(value, str) and value.startswith(FILL_IN)


def open_keys(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The keys that are still to be filled in, as faults name them, each with the table that holds it."""
    for key, value in content.items():
        name = f"{path}.{key}" if path else key
        if is_open(value):
            yield name, content
        elif isinstance(value, dict):
            yield from open_keys(value, name)
        elif isinstance(value, list):
            for at, each in enumerate(value):
                if isinstance(each, dict):
                    yield from open_keys(each, f"{name}[{at}]")
                elif is_open(each):
                    yield f"{name}[{at}]", content


def request(key: str, beside: Mapping[str, Any]) -> str:
    """What is said of an open key of a card that is read."""
    asked = wanted(key, beside)
    return f"is still to be filled in: {asked.why}; for example {asked.example}"


def wanted(key: str, beside: Mapping[str, Any], name: str = "") -> Wanted:
    """What is asked under a key (`finding[0].code`). `beside`: the table that it is in; `name`: of what it is about, as
    the model's files call it.
    """
    short = _INDEX.sub("", key)
    last = short.rpartition(".")[2]
    if short in _OF_FINDINGS:
        return _of_finding(short, beside, name)
    if short == "finding.present" and "area_mm2" in beside.get("measure", ()):
        return Wanted(_FIXED[short][0].replace("voxel", "pixel"), 'present = {area_mm2 = ">=100"}')
    if last == "modality":
        return Wanted("the modalities of the images that it takes, as DICOM writes them", _modality(beside))
    why, value = _FIXED.get(short, ("whoever brings the model has to tell it", '"..."'))
    if name and short in _BY_NAME and name in _AMONG.get(short, (name,)):
        value = _BY_NAME[short].format(name)
    return Wanted(why, f"{last} = {value}")


_FIXED: Final[Mapping[str, tuple[str, str]]] = {
    "version": ("the version of the model", '"1.0"'),
    "name": ("what the model is called on the page and in reports", '"Spleen segmentation"'),
    "maker": ("who made the model", '"University Hospital"'),
    "licence": ("the licence of the weights, as an SPDX name: whether this site may use them", '"Apache-2.0"'),
    "use": ("what the model is for and what it is not, in a sentence", '"Research only. Not a diagnosis."'),
    "input.weighting": ("which series plays this role: t1, t2, pd or flair", '"t1"'),
    "input.contrast": ("whether contrast was given in the series of this role: yes, no or any", '"any"'),
    "input.gate": (
        "which images it was made for; others are not analysed. [] takes images of all body parts, views and ages",
        '[{tag = "BodyPartExamined", any = ["CHEST"], absent = "refuse"}]',
    ),
    "prepare.shape": ("the rows and columns that the network was trained with", "[512, 512]"),
    "prepare.aspect": ("what training did with films that are not square: stretch, pad or crop", '"pad"'),
    "prepare.to": ("in which directions the network's axes grow", '"RAS"'),
    "prepare.spacing": ("the spacing that the network was trained with, in mm, in the order of its axes", "[1, 1, 2]"),
    "prepare.do": (
        "how training scaled the values: a film comes as 0..1, a CT in Hounsfield units, others as stored. Remove the "
        "step if the network takes them so; docs/models.md has all steps",
        '"zscore"',
    ),
    "prepare.count": ("an image has one channel, and the network takes more: how often training repeated it", "3"),
    "engine.window.roi": ("the sizes of the patches that training used, in the order of the axes", "[96, 96, 96]"),
    "finding.activation": ("what makes probabilities of it: sigmoid, softmax, or none if it is 0..1", '"sigmoid"'),
    "finding.threshold": ("from which probability on it is present, as chosen on images of known truth", "0.5"),
    "finding.mask_at": ("from which probability on a voxel or pixel is in the mask", "0.5"),
    "finding.present": (
        "from which size on the finding is present; {} counts any voxel",
        '{volume_ml = ">=1.0"}',
    ),
    "finding.output": ("which of the network's outputs it is read of", '"y"'),
    "finding.channel": ("which channel of the output it is: its number, counted from 0, or in a bundle its name", "0"),
}  # fmt: skip
"""By key, without its place in lists."""
_BY_NAME: Final[Mapping[str, str]] = {
    "finding.output": '"{}"',
    "prepare.count": "{}",
    "input.weighting": '"{}"',
    "input.gate": '[{{tag = "ViewPosition", any = ["{}"], absent = "refuse"}}]',
}
"""By key: the example where it has to be another for each table."""
VIEWS: Final = ("PA", "LATERAL")
WEIGHTINGS: Final = ("t1", "t2", "flair", "pd")
_AMONG: Final[Mapping[str, Sequence[str]]] = {"input.gate": VIEWS, "input.weighting": WEIGHTINGS}
"""By key: the names that are examples of it."""
_CODE: Final = "the code of the finding: SNOMED CT's (SCT) where it has one, else one of your own, such as 99LOCAL"
_OF_FINDINGS: Final = ("finding.code", "finding.channel")


def _of_finding(short: str, beside: Mapping[str, Any], name: str) -> Wanted:
    channel = beside.get("channel")
    if short == "finding.channel":
        why, value = _FIXED[short]
        return Wanted(why, f"channel = {json.dumps(name, ensure_ascii=False) if name else value}")
    about = name or (channel if isinstance(channel, str) and not is_open(channel) else "")
    word = re.sub("[^a-z0-9]+", "-", about.lower()).strip("-")
    numbered = f"channel-{channel}" if isinstance(channel, int) else "finding"
    value, meaning = (word[:16].strip("-") or numbered), (about[:64] or numbered.replace("-", " ").capitalize())
    parts = {"scheme": "99LOCAL", "value": value, "meaning": meaning[:1].upper() + meaning[1:]}
    text = ", ".join(f"{key} = {json.dumps(part, ensure_ascii=False)}" for key, part in parts.items())
    return Wanted(_CODE, f"code = {{{text}}}")


def _modality(beside: Mapping[str, Any]) -> str:
    volume = ["MR"] if "weighting" in beside else ["CT"]
    return f"modality = {json.dumps(['DX', 'CR'] if beside.get('images') in ('each', 'best') else volume)}"
