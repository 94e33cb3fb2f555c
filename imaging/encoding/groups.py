"""Header facts of enhanced multi-frame objects, which stand in functional groups: for all frames, or for each.

A fact is the object's where all its frames agree; where they do not, it is named in `Header.frames_differ`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pydicom.datadict import tag_for_keyword

from imaging.encoding.elements import Elements, TooMuch, decimal_string

Read = Callable[[Elements, int], Any]


def _tag(keyword: str) -> int:
    found = tag_for_keyword(keyword)
    if found is None:
        raise KeyError(keyword)
    return int(found)


def _double(found: Elements, tag: int) -> float | None:
    return found.double(tag)


def _text(found: Elements, tag: int) -> str | None:
    return found.values.get(tag, b"").decode("latin-1").strip("\0 ") or None


def _decimal(found: Elements, tag: int) -> float | None:
    return decimal_string((_text(found, tag) or "").partition("\\")[0][:64])


SHARED, PER_FRAME = _tag("SharedFunctionalGroupsSequence"), _tag("PerFrameFunctionalGroupsSequence")

_FACTS: Final[Mapping[str, Sequence[tuple[str, str, Read]]]] = {
    "echo_time": (
        ("MREchoSequence", "EffectiveEchoTime", _double),
        ("UnassignedSharedConvertedAttributesSequence", "EchoTime", _decimal),
        ("UnassignedPerFrameConvertedAttributesSequence", "EchoTime", _decimal),
    ),
    "repetition_time": (("MRTimingAndRelatedParametersSequence", "RepetitionTime", _decimal),),
    "inversion_time": (
        ("MRModifierSequence", "InversionTimes", _double),
        ("UnassignedSharedConvertedAttributesSequence", "InversionTime", _decimal),
        ("UnassignedPerFrameConvertedAttributesSequence", "InversionTime", _decimal),
    ),
    "inverted": (("MRModifierSequence", "InversionRecovery", _text),),
    "diffusion_b_value": (("MRDiffusionSequence", "DiffusionBValue", _double),),
    "contrast": (("ContrastBolusUsageSequence", "ContrastBolusAgentAdministered", _text),),
}
"""By fact: the groups that tell it, the first that does."""

_NUMBERS: Final = ("echo_time", "repetition_time", "inversion_time", "diffusion_b_value")

_MACROS: Final = {_tag(macro) for facts in _FACTS.values() for macro, _, _ in facts}


def facts_of_frames(found: Elements, top: Mapping[str, Any], echo_pulse: str, echo_planar: str) -> dict[str, Any]:
    """The facts of a multi-frame object by the names of `Header`, where `top` does not say them already.

    `echo_pulse`, `echo_planar`: Echo Pulse Sequence and Echo Planar Pulse Sequence, which stand at the top.
    """
    try:
        agreed, differ = _agreed(found)
    except TooMuch:
        agreed, differ = {}, set(_FACTS)
    values: dict[str, Any] = {name: agreed[name] for name in _NUMBERS if name in agreed and top.get(name) is None}
    if agreed.get("contrast") in ("YES", "NO"):
        values["contrast_administered"] = agreed["contrast"]
    kinds = _kinds(echo_pulse, echo_planar, agreed.get("inverted"))
    if kinds and not top.get("scanning_sequence"):
        values["scanning_sequence"] = kinds
    if "inverted" in differ:
        differ = differ - {"inverted"} | {"scanning_sequence"}
    is_set_above = {name for name in differ if top.get(name) not in (None, (), "")}
    return values | {"frames_differ": tuple(sorted(differ - is_set_above))}


def _agreed(found: Elements) -> tuple[dict[str, Any], set[str]]:
    shared = found.items(SHARED, _MACROS)[:1]
    frames = found.items(PER_FRAME, _MACROS) or [Elements()]
    agreed, differ = dict[str, Any](), set[str]()
    for name, facts in _FACTS.items():
        for_all = _first(shared, facts)
        values = {for_all if (own := _first([frame], facts)) is None else own for frame in frames}
        if len(values) > 1:
            differ.add(name)
        elif (value := values.pop()) is not None:
            agreed[name] = value
    return agreed, differ


def _first(groups: Iterable[Elements], facts: Sequence[tuple[str, str, Read]]) -> Any:
    """What the groups say of a fact; of several agents, that one was given."""
    for group in groups:
        for macro, keyword, read in facts:
            if _tag(macro) not in group.values:
                continue
            tag = _tag(keyword)
            values = {read(item, tag) for item in group.items(_tag(macro), {tag})} - {None}
            if values:
                return "YES" if "YES" in values else min(values)
    return None


def _kinds(echo_pulse: str, echo_planar: str, inverted: str | None) -> tuple[str, ...]:
    """Scanning Sequence as single-frame objects write it; empty where it is not told whether there was an inversion.

    Without that, "SE" would say that there was none.
    """
    kinds = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(echo_pulse, ())
    kinds += ("EP",) if echo_planar == "YES" else ()
    kinds += ("IR",) if inverted == "YES" else ()
    return kinds if inverted in ("YES", "NO") or "EP" in kinds or kinds == ("GR",) else ()
