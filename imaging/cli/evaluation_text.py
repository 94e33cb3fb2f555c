"""An evaluation's document as text."""

from collections.abc import Iterator, Mapping
from typing import Any

from imaging.cli.parsing import table
from imaging.domain.evaluation.as_json import METHODS
from imaging.domain.findings import WHY_UNPROVEN

Document = Mapping[str, Any]


def text_of(found: Document) -> str:
    """What `imaging models evaluate` prints without `--json`."""
    lines = [
        f"{found['model']} {found['version']} (mode {found['mode']}): {found['meaning']} ({found['finding']})",
        *_counts(found),
        "",
        table([["", "", "95 %", ""], *_figures(found)]),
        *_calibration(found["calibration"]),
        *_use(found),
    ]
    for by, groups in found["by"].items():
        lines += ["", table([[by, "n", "positive", "AUC", "sensitivity", "specificity", ""], *map(_group, groups)])]
    return "\n".join([*lines, "", "Not a diagnosis: imaging is not a medical device."])


def _counts(found: Document) -> Iterator[str]:
    yield f"{found['n']} analysed, {found['positives']} of them positive"
    for name, word in (("refused", "refused"), ("failed", "failed")):
        if found[name]:
            each = ", ".join(f"{reason} {count}" for reason, count in found[name].items())
            yield f"{sum(found[name].values())} {word}: {each}"
    if found["ungated"]:
        each = ", ".join(f"{reason} {count}" for reason, count in found["ungated"].items())
        yield f"{sum(found['ungated'].values())} of the analysed ones are refused in service (--ungated): {each}"
    if found["labels_without_image"]:
        yield f"labels without an image: {found['labels_without_image']}"
    if found["images_without_label"]:
        yield f"images without a label: {found['images_without_label']}"
    if found["unproven"]:
        yield WHY_UNPROVEN[found["unproven"]]
    if found["n"] and found["auc"] is None:
        yield f"all of them are {'positive' if found['positives'] else 'negative'}: no AUC"


def _figures(found: Document) -> Iterator[list[str]]:
    yield ["AUC", number(found["auc"]), interval(found["auc_ci"]), METHODS.get(found["auc_method"] or "", "")]
    yield ["AUC of age, sex, view alone", number(found["metadata_auc"]), "", "cross-validated"]
    at = f"at {found['threshold']:g}, the card's threshold"
    for name in ("sensitivity", "specificity"):
        hits, total = found[f"{name}_of"]
        yield [name, number(found[name]), interval(found[f"{name}_ci"]), f"{hits} of {total}, {at}"]
    note = "a half added to each count, as one is 0" if found["lr_positive_corrected"] else ""
    yield ["LR+", number(found["lr_positive"], 2), interval(found["lr_positive_ci"], 2), note]


def _calibration(found: Document | None) -> Iterator[str]:
    if found is None:
        return
    yield ""
    slope, intercept = number(found["slope"], 2), number(found["intercept"], 2)
    yield (
        f"calibration: slope {slope}, intercept {intercept}, Brier {number(found['brier'])} "
        f"(of the prevalence alone {number(found['brier_of_prevalence'])})"
    )
    rows = [
        [number(each["mean"]), number(each["observed"]), interval(each["observed_ci"]), str(each["n"])]
        for each in found["bins"]
    ]
    yield table([["said", "found", "95 %", "n"], *rows])


def _use(found: Document) -> Iterator[str]:
    if suggested := found["suggested"]:
        yield ""
        yield (
            f"suggested, not set: threshold {suggested['threshold']:.6g} reaches the wanted sensitivity of "
            f"{suggested['wanted_sensitivity']:g}: sensitivity {number(suggested['sensitivity'])} "
            f"{interval(suggested['sensitivity_ci'])}, specificity {number(suggested['specificity'])} "
            f"{interval(suggested['specificity_ci'])}"
        )
    elif found["n"] and found["auc"] is not None:
        yield "\nno threshold reaches the wanted sensitivity"
    if load := found["flags_per_day"]:
        flags = ", ".join(f"{count:.1f} {name}" for name, count in load["flags"].items()) or "none"
        yield (
            f"of {load['studies']:g} studies a day, at a prevalence of {load['prevalence']:.3g}: called in "
            f"{load['called']:.1f}, {load['called_falsely']:.1f} of them falsely; flags: {flags}; "
            f"PPV {number(load['ppv'], 2)}, NPV {number(load['npv'], 2)}"
        )


def _group(found: Document) -> list[str]:
    shares = [f"{number(found[name], 2)} {interval(found[f'{name}_ci'], 2)}" for name in ("sensitivity", "specificity")]
    auc = f"{number(found['auc'])} {interval(found['auc_ci'], 2)}"
    return [found["group"], str(found["n"]), str(found["positives"]), auc, *shares, "few" if found["few"] else ""]


def number(value: float | None, decimals: int = 3) -> str:
    """A figure; "-" where there is none."""
    return "-" if value is None else f"{value:.{decimals}f}"


def interval(value: list[float] | None, decimals: int = 3) -> str:
    """An interval in brackets; empty where there is none."""
    return "" if value is None else f"[{value[0]:.{decimals}f}, {value[1]:.{decimals}f}]"
