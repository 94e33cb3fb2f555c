"""MONAI bundles as they are published, with seeded weights: their configurations lie in the shared data."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from inference_cases import shared
from peers import missing_peer

CARD = """card = 1
id = "{id}"
licence = "Apache-2.0"
device_uid = "2.25.31415926535897932384626433"
status = "research"

[[input]]
role = "image"
gate = [{{tag = "BodyPartExamined", any = ["{body_part}"], absent = "refuse"}}]

[engine]
kind = "bundle"
folder = "{name}"
sha256 = "{sha256}"
seconds = 300
"""

FINDING = """
[[finding]]
channel = {channel!r}
code = {{scheme = "99TEST", value = "{value}", meaning = "{value}"}}
measure = ["volume_ml"]
"""


def need_monai() -> None:
    """Asks for what runs bundles, and for MONAI as their oracle: `make test` installs both under REQUIRE_PEERS=1."""
    absent = [
        name
        for name in ("torch", "monai", "einops", "safetensors", "yaml", "nibabel", "skimage")
        if not find_spec(name)
    ]
    if absent:
        missing_peer(f"{', '.join(absent)}: pip install 'imaging[monai,oracle]'")


def published(name: str, folder: Path) -> Path:
    """The bundle's configuration in its published layout, in `folder`/`name`."""
    configs = folder / name / "configs"
    configs.mkdir(parents=True)
    for file in shared(f"bundles/{name}").iterdir():
        shutil.copy(file, configs / file.name)
    (configs / "logging.conf").write_text("[loggers]\nkeys=root\n[handlers]\nkeys=\nclass=os.system\n")
    return folder / name


def changed(bundle: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Changes a bundle's configuration."""
    file = bundle / "configs" / "inference.json"
    value = json.loads(file.read_text())
    edit(value)
    file.write_text(json.dumps(value))


def parser(bundle: Path) -> Any:
    """MONAI's own reading of a bundle."""
    from monai.bundle import ConfigParser

    config = next((bundle / "configs").glob("inference.*"))
    made = ConfigParser()
    made.read_config(str(config))
    made.read_meta(str(bundle / "configs" / "metadata.json"))
    return made


def save_weights(bundle: Path, network: Any) -> str:
    """Saves a network's weights where bundles have them; their digest."""
    import torch

    file = bundle / "models" / "model.pt"
    file.parent.mkdir(exist_ok=True)
    torch.save(network.state_dict(), file)
    return digest(file)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_card(bundle: Path, sha256: str, channels: Sequence[int | str], body_part: str = "HEAD") -> Path:
    """A card for a bundle in its folder's parent; the model's folder."""
    model = bundle.parent
    text = CARD.format(id=model.name, name=bundle.name, sha256=sha256, body_part=body_part)
    text += "".join(FINDING.format(channel=each, value=f"label-{each}"[:16]) for each in channels)
    (model / "card.toml").write_text(text)
    return model


def balance(network: Any, values: Any, quantiles: Sequence[float]) -> None:
    """Moves the biases of a fresh network's last layer, so that each channel is the highest somewhere in `values`.

    Fresh weights give nearly one label everywhere, and a comparison of that shows nothing.
    """
    import torch

    network.eval()
    with torch.inference_mode():
        given = network(values).double().transpose(0, 1).flatten(1)
    spread = given.std(dim=1)
    middle = torch.stack([each.quantile(at) for each, at in zip(_thinned(given), quantiles, strict=True)])
    last = [each for each in network.modules() if getattr(each, "bias", None) is not None][-1]
    with torch.no_grad():
        last.bias.sub_(middle.to(last.bias.dtype))
    assert spread.min() > 0


def _thinned(rows: Any) -> Any:
    return [each[:: max(1, len(each) // 100_000)] for each in rows]


BRATS: Final[Mapping[str, dict[str, Any]]] = {
    "t1c": {"EchoTime": 12, "RepetitionTime": 500, "ContrastBolusAgent": "Gadovist", "SeriesDescription": "T1 +C"},
    "t1": {"EchoTime": 12, "RepetitionTime": 500, "SeriesDescription": "T1 without contrast"},
    "t2": {"EchoTime": 100, "RepetitionTime": 5000, "SeriesDescription": "T2", "ScanningSequence": "SE"},
    "flair": {"EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500, "SeriesDescription": "FLAIR"},
}
"""By role, what the headers of a series say."""


def brats(data: dict[str, Any]) -> None:
    """As published, with a network and patches that take seconds, and without the merge of its labels."""
    data["network_def"] |= {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]}
    data["inferer"] |= {"roi_size": [96, 96, 32]}
