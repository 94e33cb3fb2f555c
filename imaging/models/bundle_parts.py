"""What a bundle's configuration builds, by exact names: its preparation, inferer, network and post-processing, each as
a card says it. A name, or an argument of one, that is not in the tables here is refused with its place in the file.

Preparation becomes steps of the closed set. Reading files, moving arrays to devices and writing results are ours: what
says how is passed over.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from imaging.domain.card import Network, Window
from imaging.domain.tables import Faults, Table
from imaging.models.bundle_config import LONGEST, Config, Node, Refused
from imaging.preparation.orient import COLUMN_FIRST

StepTable = dict[str, Any]
"""A step as a card says it."""

NETWORKS: Final = ("UNet", "SegResNet", "DynUNet", "SwinUNETR", "DiNTS", "RetinaNet")
"""Of `monai.networks.nets`."""
NO_LONGER: Final[Mapping[str, frozenset[str]]] = {"SwinUNETR": frozenset({"img_size"})}
"""Options that MONAI has no more, and that changed nothing about the weights."""
IMAGE, PREDICTION = "image", "pred"
"""What MONAI's evaluator calls them, and so the transforms' keys."""
_PASSED_OVER: Final = frozenset({"_target_", "_disabled_", "_desc_"})
_FOR_EACH_KEY: Final = frozenset({"mode", "padding_mode", "align_corners", "nearest_interp", "argmax", "threshold"})
"""Arguments that may be lists with a value for each key, of which there is one."""
_FLOATS: Final = ("float32", "$torch.float32", "$numpy.float32", "$np.float32")


@dataclass(frozen=True)
class PlacedStep:
    """A step of preparation and its place in the configuration."""

    step: StepTable
    place: str


@dataclass
class Outputs:
    """How a network's output becomes masks, as `SegmentSpec` has it. `largest`: of which labels the largest component
    alone is kept; None: of all.
    """

    activation: Literal["sigmoid", "softmax", "none"] = "none"
    pick: Literal["threshold", "argmax"] | None = None
    mask_at: float = 0.5
    carried: Literal["mask", "values", "labels"] = "mask"
    largest: frozenset[int] | None = frozenset()


# Preparation -------------------------------------------------------------------------------------------------


def preparation(config: Config, faults: Faults, channels: int = 1) -> list[PlacedStep]:
    """The steps of a bundle's preprocessing, of so many channels. Raises Refused."""
    root = config.root("preprocessing")
    if root is None:
        raise Refused("preprocessing", None, "is missing", "preprocessing-absent")
    done: list[PlacedStep] = []
    for node in _transforms(config, root):
        kind = _named(node, "monai.transforms", tuple(_STEPS), "transform")
        if (dtype := node.value.get("dtype")) is not None and _STEPS[kind].passing == _TYPES and dtype not in _FLOATS:
            raise Refused(f"{node.place}.dtype", dtype, "must be float32", "dtype-unsupported")
        table = _arguments(config, node, faults, passing=_STEPS[kind].passing)
        _keys(table, IMAGE)
        if channels > 1 and kind in _OF_CHANNELS and table.untaken("channel_wise") is not True:
            table.fault("channel_wise", False, f"must be true: the {channels} channels are series", "channel-wise")
        if kind == "Resized" and any(each.step["do"] == "resample" for each in done):
            rule = "after Spacingd is inverted in two steps by MONAI, which is not supported: remove one of them"
            table.fault("_target_", kind, rule, "resize-order")
        done += [PlacedStep(data, node.place) for data in _STEPS[kind].steps(table)]
        table.done("argument-unknown", f"is not a supported argument of {kind}")
    if not any(each.step["do"] == "orient" for each in done):
        done.insert(0, PlacedStep({"do": "orient", "to": COLUMN_FIRST}, root.place))
    return done


def _transforms(config: Config, root: Node) -> list[Node]:
    """The transforms of a `Compose`, or of a list, in their order, without the disabled."""
    if isinstance(root.value, dict):
        _named(root, "monai.transforms", ("Compose",), "transform")
        inner = config.item(root, "transforms")
        root = inner if inner is not None else Node([], root.place)
    return [each for each in config.items(root) if not _is_disabled(config, each)]


def _is_disabled(config: Config, node: Node) -> bool:
    value = config.item(node, "_disabled_") if isinstance(node.value, dict) else None
    return value is not None and (value.value is True or str(value.value).lower() == "true")


def _named(node: Node, package: str, among: tuple[str, ...], what: str) -> str:
    """The name under `_target_`, by itself or after its package. Raises Refused."""
    value = node.value.get("_target_") if isinstance(node.value, dict) else None
    if not isinstance(value, str):
        raise Refused(node.place, node.value, f"must name a {what} as _target_", f"{what}-form")
    name = value.removeprefix(f"{package}.")
    if name not in among:
        rule = f"is not a supported {what}: {', '.join(among)}"
        raise Refused(f"{node.place}._target_", value, rule, f"{what}-unknown")
    if "_mode_" in node.value or "_requires_" in node.value:
        raise Refused(node.place, node.value, "_mode_ and _requires_ are not supported", f"{what}-form")
    return name


def _arguments(config: Config, node: Node, faults: Faults, passing: frozenset[str]) -> Table:
    """The arguments as plain values, without those that are passed over."""
    data = {}
    for key in node.value:
        each = config.item(node, key) if key not in passing | _PASSED_OVER else None
        if each is not None:
            value = config.plain(each)
            is_list_of_one = isinstance(value, list) and len(value) == 1 and key in _FOR_EACH_KEY
            data[key] = value[0] if is_list_of_one else value
    return Table({key: value for key, value in data.items() if value is not None}, node.place, faults)


def _keys(table: Table, wanted: str) -> None:
    value = table.taken("keys")
    if (value if isinstance(value, list) else [value]) != [wanted]:
        table.fault("keys", value, f'must be "{wanted}"', "keys-unknown")


def _only(table: Table, key: str, *allowed: object) -> None:
    """An argument that may have these values alone, or be left out."""
    value = table.taken(key)
    if value is not None and value not in allowed:
        table.fault(
            key, value, f"must be {' or '.join(map(repr, allowed))} here", f"{key.replace('_', '-')}-unsupported"
        )


def _nothing(table: Table) -> list[StepTable]:
    return []


def _channel_first(table: Table) -> list[StepTable]:
    _only(table, "channel_dim", "no_channel")
    _only(table, "strict_check", True, False)
    return []


def _orientation(table: Table) -> list[StepTable]:
    if table.flag("as_closest_canonical", False):
        _only(table, "axcodes", "RAS")
        return [{"do": "orient", "to": "RAS"}]
    value = table.taken("axcodes")
    return [{"do": "orient", "to": "".join(map(str, value)) if isinstance(value, list) else value}]


def _spacing(table: Table) -> list[StepTable]:
    for key in ("diagonal", "scale_extent"):
        _only(table, key, False)
    for key in ("align_corners", "recompute_affine", "ensure_same_shape"):
        _only(table, key, True, False)
    _only(table, "padding_mode", "border")
    mode = table.choice("mode", ("bilinear", "nearest"), "bilinear")
    spacing = table.one_or_more("pixdim", 0.05, 1000.0)
    spacing = spacing * 3 if len(spacing) == 1 else spacing
    how = "linear" if mode == "bilinear" else mode
    return [{"do": "resample", "spacing": list(spacing), "mode": how, "beyond": "border"}]


def _range(table: Table) -> list[StepTable]:
    low, high = table.number("a_min", None, -1e6, 1e6), table.number("a_max", None, -1e6, 1e6)
    minimum, maximum = table.number("b_min", 0.0, -1e6, 1e6), table.number("b_max", 1.0, -1e6, 1e6)
    if low >= high:
        table.fault("a_min", low, "must be less than a_max", "a-min-range")
        return []
    if table.flag("clip", False):
        return [{"do": "window", "low": low, "high": high}, *_to(minimum, maximum)]
    factor = (maximum - minimum) / (high - low)
    return [{"do": "scale", "factor": factor, "offset": minimum - low * factor}]


def _to(minimum: float, maximum: float) -> list[StepTable]:
    """From 0..1 to other ends."""
    return [] if (minimum, maximum) == (0.0, 1.0) else [{"do": "scale", "factor": maximum - minimum, "offset": minimum}]


def _scale(table: Table) -> list[StepTable]:
    _only(table, "channel_wise", True, False)
    minimum, maximum = table.number("minv", 0.0, -1e6, 1e6), table.number("maxv", 1.0, -1e6, 1e6)
    return [{"do": "percentile", "lower": 0, "upper": 100}, *_to(minimum, maximum)]


def _percentiles(table: Table) -> list[StepTable]:
    _only(table, "channel_wise", True, False)
    _only(table, "relative", False)
    if not table.flag("clip", False):
        table.fault("clip", False, "must be true here", "clip-unsupported")
    lower, upper = table.number("lower", None, 0.0, 100.0), table.number("upper", None, 0.0, 100.0)
    minimum, maximum = table.number("b_min", None, -1e6, 1e6), table.number("b_max", None, -1e6, 1e6)
    return [{"do": "percentile", "lower": lower, "upper": upper}, *_to(minimum, maximum)]


def _normalize(table: Table) -> list[StepTable]:
    _only(table, "channel_wise", True, False)
    if not table.has("subtrahend") and not table.has("divisor"):
        return [{"do": "zscore", "nonzero": table.flag("nonzero", False)}]
    _only(table, "nonzero", False)
    mean, std = table.one_or_more("subtrahend", -1e6, 1e6), table.one_or_more("divisor", 1e-6, 1e6)
    return [{"do": "normalize", "mean": list(mean), "std": list(std)}]


def _foreground(table: Table) -> list[StepTable]:
    _only(table, "source_key", IMAGE)
    _only(table, "margin", 0, [0, 0, 0])
    _only(table, "k_divisible", 1, [1, 1, 1])
    _only(table, "allow_smaller", True, False)
    return [{"do": "crop-foreground"}]


def _resize(table: Table) -> list[StepTable]:
    _only(table, "size_mode", "all")
    _only(table, "align_corners", False)
    _only(table, "anti_aliasing", False)
    _only(table, "anti_aliasing_sigma")
    if (mode := table.text("mode", "area")) != "trilinear":  # area is MONAI's default; it inverts by blocks
        table.fault("mode", mode, "must be 'trilinear' here", "mode-unsupported")
    value = table.taken("spatial_size")
    sizes = value if isinstance(value, list) else [value] * 3
    if len(sizes) != 3 or not all(isinstance(each, int) and each > 0 for each in sizes):
        table.fault("spatial_size", value, "must be three sizes", "spatial-size-form")
        return []
    return [{"do": "resize-volume", "shape": sizes}]


_OF_CHANNELS: Final = ("ScaleIntensityd", "ScaleIntensityRangePercentilesd", "NormalizeIntensityd")
"""What asks for statistics, which steps take of each channel by itself."""


@dataclass(frozen=True)
class _Step:
    """`steps`: a transform in a card's words. `passing`: arguments that are ours to say."""

    steps: Callable[[Table], list[StepTable]]
    passing: frozenset[str] = frozenset()


_ANYWHERE: Final = frozenset({"allow_missing_keys", "device", "dtype", "lazy", "meta_keys", "meta_key_postfix"})
_READING: Final = _ANYWHERE | {"reader", "image_only", "ensure_channel_first", "affine_lps_to_ras", "simple_keys"}
_TYPES: Final = _ANYWHERE | {"data_type", "track_meta", "wrap_sequence", "drop_meta"}

_STEPS: Final[Mapping[str, _Step]] = {
    "LoadImaged": _Step(_nothing, _READING),
    "EnsureChannelFirstd": _Step(_channel_first, _ANYWHERE),
    "EnsureTyped": _Step(_nothing, _TYPES),
    "ToTensord": _Step(_nothing, _TYPES),
    "CastToTyped": _Step(_nothing, _TYPES),
    "Orientationd": _Step(_orientation, _ANYWHERE),
    "Spacingd": _Step(_spacing, _ANYWHERE),
    "ScaleIntensityRanged": _Step(_range, _ANYWHERE),
    "ScaleIntensityd": _Step(_scale, _ANYWHERE),
    "ScaleIntensityRangePercentilesd": _Step(_percentiles, _ANYWHERE),
    "NormalizeIntensityd": _Step(_normalize, _ANYWHERE),
    "Resized": _Step(_resize, _ANYWHERE),
    "CropForegroundd": _Step(_foreground, _ANYWHERE | {"mode", "start_coord_key", "end_coord_key"}),
}


# Network and inferer -----------------------------------------------------------------------------------------


def network(config: Config) -> Network:
    """The network by its name and options. Raises Refused."""
    root = config.root("network", "network_def", "net")
    if root is None:
        raise Refused("network", None, "is missing", "network-absent")
    name = _named(root, "monai.networks.nets", NETWORKS, "network")
    options = {}
    for key in root.value:
        each = config.item(root, key) if key not in _PASSED_OVER | NO_LONGER.get(name, frozenset()) else None
        if each is not None:
            options[key] = config.plain(each)
    return Network(name, options)


_INFERERS: Final = ("SlidingWindowInferer", "SliceInferer", "SimpleInferer")
_WHERE: Final = frozenset({"device", "sw_device", "progress", "cache_roi_weight_map", "cpu_thresh"})


def window(config: Config, faults: Faults) -> Window | None:
    """How a volume is cut for the network; None where it goes whole. Raises Refused."""
    root = config.root("inferer")
    if root is None:
        raise Refused("inferer", None, "is missing", "inferer-absent")
    name = _named(root, "monai.inferers", _INFERERS, "inferer")
    table = _arguments(config, root, faults, passing=_WHERE)
    made = None if name == "SimpleInferer" else _window(table, is_flat=name == "SliceInferer")
    table.done("argument-unknown", f"is not a supported argument of {name}")
    return made


def _window(table: Table, *, is_flat: bool) -> Window:
    flat = table.integer("spatial_dim", 0, 0, 2) if is_flat else None
    count = 2 if is_flat else 3
    sizes = table.one_or_more("roi_size", 1, 4096)
    if len(sizes) not in (1, count) or any(each % 1 for each in sizes):
        table.fault("roi_size", list(sizes), f"must be {count} whole numbers", "roi-size-form")
        sizes = (1.0,)
    roi = [int(each) for each in (sizes * count if len(sizes) == 1 else sizes)]
    if flat is not None:
        roi.insert(flat, 1)
    _only(table, "sigma_scale", 0.125)
    _only(table, "cval", 0, 0.0)
    padding = table.choice("padding_mode", ("constant", "replicate"), "constant")
    return Window(
        roi=(roi[0], roi[1], roi[2]),
        overlap=table.number("overlap", 0.25, 0.0, 0.95),
        blend=table.choice("mode", ("constant", "gaussian"), "constant"),  # type: ignore[arg-type]  # the closed set
        batch=table.integer("sw_batch_size", 1, 1, 64),
        padding="zero" if padding == "constant" else "replicate",
        flat=flat,
    )


# Post-processing ---------------------------------------------------------------------------------------------

_MERGE: Final = ast.dump(
    ast.parse("lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))")
)
"""BraTS' overlapping channels made one map of labels. Each channel is reported whole, before it."""


def outputs(config: Config, faults: Faults) -> Outputs:
    """What a bundle's post-processing makes of the network's output. Raises Refused."""
    root = config.root("postprocessing")
    if root is None:
        raise Refused("postprocessing", None, "is missing", "postprocessing-absent")
    made = Outputs()
    for node in _transforms(config, root):
        kind = _named(node, "monai.transforms", (*_AFTER, "Lambdad", "SaveImaged"), "transform")
        if kind == "Lambdad":
            _merge(node, made)
        elif kind != "SaveImaged":
            table = _arguments(config, node, faults, passing=_AFTER_PASSING)
            _keys(table, PREDICTION)
            _AFTER[kind](table, made)
            table.done("argument-unknown", f"is not a supported argument of {kind}")
    if made.pick is None:
        rule = "must contain AsDiscreted with argmax or threshold, which make masks"
        raise Refused(root.place, None, rule, "discrete-absent")
    return made


def _merge(node: Node, made: Outputs) -> None:
    value = node.value.get("func")
    try:
        is_known = (
            isinstance(value, str)
            and len(value) <= LONGEST
            and ast.dump(ast.parse(value.removeprefix("$").strip())) == _MERGE
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        is_known = False
    if not is_known or made.pick != "threshold":
        rule = "is code; only BraTS' merge of labels after a threshold is supported"
        raise Refused(f"{node.place}.func", value, rule, "function-unknown")


def _activations(table: Table, made: Outputs) -> None:
    if made.pick is not None:
        table.fault("_target_", "Activationsd", "must come before AsDiscreted", "activation-order")
    softmax, sigmoid = table.flag("softmax", False), table.flag("sigmoid", False)
    if softmax and sigmoid:
        table.fault("softmax", True, "stands beside sigmoid", "activation-twice")
    made.activation = "softmax" if softmax else "sigmoid" if sigmoid else made.activation


def _discrete(table: Table, made: Outputs) -> None:
    if made.pick is not None:
        table.fault("_target_", "AsDiscreted", "stands twice", "discrete-twice")
    if table.flag("argmax", False):
        _only(table, "threshold")
        table.taken("to_onehot")  # a channel for each label says the same
        made.pick = "argmax"
    else:
        made.pick, made.mask_at = "threshold", table.number("threshold", None, 1e-6, 1.0)


def _invert(table: Table, made: Outputs) -> None:
    """Of values that are inverted before masks are made of them, the masks are made on the study's own voxels; by the
    nearest voxel it is one whether they are made before or afterwards. Labels that are inverted linearly are mixed like
    values, and what lies between two of them becomes the one to which it rounds.
    """
    if not table.flag("nearest_interp", True):
        made.carried = "values" if made.pick is None else "labels"


def _largest(table: Table, made: Outputs) -> None:
    if made.pick is None:
        table.fault("_target_", "KeepLargestConnectedComponentd", "must come after AsDiscreted", "largest-order")
    if made.carried == "labels":
        rule = "must come before Invertd where that mixes labels"
        table.fault("_target_", "KeepLargestConnectedComponentd", rule, "largest-order")
    _only(table, "independent", True)
    _only(table, "connectivity", 3)
    _only(table, "num_components", 1)
    _only(table, "is_onehot", True, False)
    value = table.taken("applied_labels")
    labels = value if isinstance(value, list) else [value]
    made.largest = None if value is None else frozenset(each for each in labels if isinstance(each, int))


_AFTER: Final[Mapping[str, Callable[[Table, Outputs], None]]] = {
    "Activationsd": _activations,
    "AsDiscreted": _discrete,
    "Invertd": _invert,
    "KeepLargestConnectedComponentd": _largest,
    "EnsureTyped": lambda table, made: None,
    "ToTensord": lambda table, made: None,
}
_AFTER_PASSING: Final = _TYPES | {"transform", "orig_keys", "orig_meta_keys", "to_tensor"}
