"""A MONAI bundle as it was published, read into what a card has: steps, window, network, how masks are made.

`configs/inference.json` (or `.yaml`) and `configs/metadata.json` are read as data; `configs/logging.conf`, scripts and
everything else in the folder are never opened. What a bundle's evaluator, data set and handlers say is not asked.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from imaging.domain.card import Network, SegmentSpec, WeightsFile, Window
from imaging.domain.tables import Faults, Table
from imaging.models.bundle_config import MAX_FILE, Config, Refused, config_of
from imaging.models.bundle_parts import IMAGE, PREDICTION, Outputs, PlacedStep, network, outputs, preparation, window
from imaging.models.files import inside
from imaging.models.installed import EXTRAS, hold_installed

WEIGHTS: Final = ("models/model.pt", "models/model.safetensors")
_MODALITIES: Final[Mapping[str, str]] = {"ct": "CT", "mr": "MR", "mri": "MR", "pt": "PT", "pet": "PT"}
"""Of metadata's free text, what it is in DICOM."""
MAX_CHANNELS: Final = 10_000
MAX_INPUTS: Final = 16


@dataclass(frozen=True)
class Bundle:
    """`config`: the file that says how it is run. `weights`: the file, from the model's folder; `files`: the
    configuration, with its digests. `facts`: of the card's keys, those that the metadata answers where the card does
    not. `channels`: of the input, a series each. `labels`: output channels by their names.
    """

    config: Path
    weights: str
    files: tuple[WeightsFile, ...]
    network: Network
    channels: int
    steps: tuple[PlacedStep, ...]
    window: Window | None
    outputs: Outputs
    labels: Mapping[str, int]
    facts: Mapping[str, str]
    modality: tuple[str, ...]

    def channel(self, table: Table) -> int:
        """The channel that a finding names, by number or by the metadata's name."""
        value = table.taken("channel")
        count = self.network.options.get("out_channels")
        maximum = count - 1 if isinstance(count, int) else MAX_CHANNELS
        if isinstance(value, str) and value in self.labels:
            return self.labels[value]
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= maximum:
            return value
        names = ", ".join(f"{number} {name!r}" for name, number in self.labels.items())
        table.fault(
            "channel", value, f"must be a channel of the bundle: {names or f'0 to {maximum}'}", "channel-unknown"
        )
        return 0

    def finding(self, spec: SegmentSpec) -> SegmentSpec:
        """A finding with what the post-processing says of its mask."""
        made, largest = self.outputs, self.outputs.largest
        return replace(
            spec,
            activation=made.activation,
            mask_at=made.mask_at,
            pick=made.pick or "threshold",
            carried=made.carried,
            keep="largest" if largest is None or spec.channel in largest else "all",
        )


def read_bundle(table: Table, folder: Path) -> Bundle | None:
    """The bundle that an `[engine]` names; None, with its faults noted, where it cannot be run."""
    hold_installed(table, "bundle")
    name = table.text("folder")
    at = inside(table, "folder", folder, name) if name else None
    if at is None:
        return None
    file = _weights(table, folder, name)
    config, metadata = config_of(at), at / "configs" / "metadata.json"
    if config is None or not metadata.is_file():
        wanted = "must contain configs/inference.json (or .yaml) and configs/metadata.json"
        table.fault("folder", name, wanted, "bundle-incomplete")
        return None
    if any(inside(table, "folder", folder, _from(folder, each)) is None for each in (config, metadata)):
        return None
    try:
        raws = [_read(config), _read(metadata)]
        value, statement = Config.of_bytes(raws[0], config.suffix), json.loads(raws[1])
    except ImportError:
        table.fault(
            "folder",
            name,
            f"{config.name} needs PyYAML, which is not installed: {EXTRAS['bundle'].mend}",
            "engine-absent",
        )
        return None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        table.fault("folder", name, f"its configuration cannot be read: {error}", "bundle-unreadable")
        return None
    files = tuple(
        WeightsFile(_from(folder, path), hashlib.sha256(raw).hexdigest())
        for path, raw in zip((config, metadata), raws, strict=True)
    )
    faults = Faults(config)
    try:
        made = _made(config, value, faults, file, files, statement if isinstance(statement, dict) else {})
    except Refused as refused:
        faults.add(refused.place, refused.value, refused.rule, refused.name)
        made = None
    table.add(faults)
    return made


def _made(
    path: Path, config: Config, faults: Faults, file: str, files: Sequence[WeightsFile], data: Mapping[str, Any]
) -> Bundle | None:
    built = network(config)
    channels = built.options.get("in_channels", 1)
    if not isinstance(channels, int) or not 1 <= channels <= MAX_INPUTS:
        raise Refused("network.in_channels", channels, f"must be 1 to {MAX_INPUTS}", "input-count")
    steps, cut = preparation(config, faults, channels), window(config, faults)
    masks = outputs(config, faults)
    axes, wanted = built.options.get("spatial_dims", 3), 2 if cut is not None and cut.flat is not None else 3
    if axes != wanted:
        faults.add("network.spatial_dims", axes, f"must be {wanted} for this inferer", "network-dimensions")
    if masks.pick == "argmax" and built.options.get("out_channels") == 1:
        faults.add("network.out_channels", 1, "leaves argmax nothing to choose from", "channel-absent")
    if faults.lines:
        return None
    formats = _at(data, "network_data_format")
    return Bundle(
        config=path,
        weights=file,
        files=tuple(files),
        network=built,
        channels=channels,
        steps=tuple(steps),
        window=cut,
        outputs=masks,
        labels=_labels(formats),
        facts={key: value for key, value in _facts(data) if value},
        modality=_modality(formats),
    )


def _weights(table: Table, folder: Path, name: str) -> str:
    """The weights' file, from the model's folder: as the card says, else where bundles have it."""
    among = [_from(folder, folder / name / each) for each in WEIGHTS]
    text = table.text("file", "")
    if text:
        return _from(folder, folder / name / text)
    return next((each for each in among if (folder / each).is_file()), among[0])


def _from(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(MAX_FILE + 1)
    if len(raw) > MAX_FILE:
        raise ValueError(f"{path.name} is larger than {MAX_FILE >> 20} MB")
    return raw


# Metadata ----------------------------------------------------------------------------------------------------


def _at(value: Any, *keys: str) -> Mapping[str, Any]:
    """An inner table of the metadata; empty where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _facts(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {"version": "version", "name": "name", "maker": "authors", "use": "intended_use"}
    data = {key: fields.get(name) for key, name in names.items()}
    return [(key, " ".join(value.split())) for key, value in data.items() if isinstance(value, str)]


def _labels(formats: Mapping[str, Any]) -> dict[str, int]:
    data = _at(formats, "outputs", PREDICTION, "channel_def")
    return {str(name): int(number) for number, name in data.items() if str(number).isdecimal()}


def _modality(formats: Mapping[str, Any]) -> tuple[str, ...]:
    text = str(_at(formats, "inputs", IMAGE).get("modality", "")).lower()
    return (_MODALITIES[text],) if text in _MODALITIES else ()
