"""An evaluation as one HTML page that needs nothing else: no script, no request, light and dark.

It holds figures and scores, and of no study a name, a number or a path.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from imaging import __version__
from imaging.domain.evaluation.as_json import METHODS
from imaging.domain.evaluation.figures import Case, Evaluation
from imaging.domain.findings import WHY_UNPROVEN
from imaging.web import evaluation_charts as charts

Document = Mapping[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; --page: #fbfbfa; --text: #1b1f23; --dim: #55606b; --line: #c9cfd6;
  --curve: #1f5fa6; --with: #1f5fa6; --without: #b45309; --notice: #fff3d6; }
@media (prefers-color-scheme: dark) { :root { --page: #0e1216; --text: #dbe2e9; --dim: #a0adba; --line: #3a4652;
  --curve: #7cb8f0; --with: #7cb8f0; --without: #f0a35e; --notice: #33290f; } }
body { margin: 0 auto; max-width: 66rem; padding: 1rem; background: var(--page); color: var(--text);
  font: 100%/1.5 "Segoe UI", "Noto Sans", "DejaVu Sans", system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.4rem; margin: 0 0 0.25rem; } h2 { font-size: 1.1rem; margin: 1.5rem 0 0.25rem; }
.dim, caption { color: var(--dim); } .notice { background: var(--notice); padding: 0.5rem 0.75rem; font-weight: 600; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: 0.5rem 0; }
caption { text-align: left; } th, td { text-align: left; padding: 0.2rem 0.9rem 0.2rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; } th { font-weight: 600; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; } svg { max-width: 100%; height: auto; }
svg text { fill: var(--text); font-size: 12px; } .frame, .axis { fill: none; stroke: var(--line); }
.guide { stroke: var(--dim); stroke-dasharray: 4 4; } .curve { fill: none; stroke: var(--curve); stroke-width: 2; }
.point { fill: var(--curve); } .bar { stroke: var(--curve); stroke-width: 1.5; }
.with { fill: var(--with); } .without { fill: none; stroke: var(--without); stroke-width: 1.5; }
.threshold { stroke: var(--text); stroke-dasharray: 4 3; } .few td, .few th { color: var(--dim); }
"""


def page(found: Document, evaluation: Evaluation, cases: Sequence[Case]) -> str:
    """The page. `found`: the document that the command prints; `cases`: whose scores are drawn."""
    title = f"{found['model']} {found['version']}: {found['meaning']}"
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="dim">Evaluated on labelled studies by imaging {escape(__version__)}, {made}. '
        f"Model digest {escape(found['digest'][:16])}.</p>",
        '<p class="notice">Not a diagnosis: imaging is not a medical device. These figures hold for the studies that '
        "they were measured on.</p>",
        *_studies(found),
        *_figures(found),
        *_charts(found, evaluation, cases),
        *_calibration(found["calibration"]),
        *_use(found),
        *_groups(found["by"]),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _studies(found: Document) -> Iterator[str]:
    yield "<h2>Studies</h2>"
    yield f"<p>{found['n']} analysed, {found['positives']} of them with the finding.</p>"
    said = [f"{count} refused: {reason}" for reason, count in found["refused"].items()]
    said += [f"{count} failed: {why}" for why, count in found["failed"].items()]
    said += [f"{count} run although refused in service: {reason}" for reason, count in found["ungated"].items()]
    said += [f"{found[key]} {key.replace('_', ' ')}" for key in _UNMATCHED if found[key]]
    said += [WHY_UNPROVEN[found["unproven"]]] if found["unproven"] else []
    if found["n"] and found["auc"] is None:
        said.append(f"all of them are {'positive' if found['positives'] else 'negative'}: no AUC")
    if said:
        yield "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in said) + "</ul>"


_UNMATCHED: Final = ("labels_without_image", "images_without_label")


def _figures(found: Document) -> Iterator[str]:
    def of(name: str) -> str:
        hits, total = found[f"{name}_of"]
        return f"{hits} of {total}"

    corrected = "a half added to each count, as one is 0" if found["lr_positive_corrected"] else ""
    rows = [
        ("AUC", _number(found["auc"]), _interval(found["auc_ci"]), METHODS.get(found["auc_method"] or "", "")),
        ("AUC of age, sex, view alone", _number(found["metadata_auc"]), "", "cross-validated"),
        ("Sensitivity", _number(found["sensitivity"]), _interval(found["sensitivity_ci"]), of("sensitivity")),
        ("Specificity", _number(found["specificity"]), _interval(found["specificity_ci"]), of("specificity")),
        ("LR+", _number(found["lr_positive"], 2), _interval(found["lr_positive_ci"], 2), corrected),
    ]
    yield _table(f"At {found['threshold']:g}, the card's threshold", ("", "figure", "95 %", ""), rows)


def _charts(found: Document, evaluation: Evaluation, cases: Sequence[Case]) -> Iterator[str]:
    scores = {
        kind: [each.score for each in cases if each.score is not None and each.truth is kind] for kind in (True, False)
    }
    if not evaluation.curve:
        return
    at = 1 - found["specificity"], found["sensitivity"]
    area = f"Area {_number(found['auc'])} {_interval(found['auc_ci'])}"
    says = f"{area}. At the card's threshold the sensitivity is {at[1]:.2f}."
    drawn = [("ROC; the point is the card's threshold", charts.roc(evaluation.curve, at, says))]
    if evaluation.calibration is not None:
        says = f"Calibration slope {_number(found['calibration']['slope'], 2)}. The table below has the bins."
        drawn.append(
            ("Reliability; dashed: perfect calibration", charts.reliability(evaluation.calibration.bins, says))
        )
    top = 1.0 if evaluation.calibration is not None else max(1e-6, *scores[True], *scores[False])
    medians = [f"{sorted(each)[len(each) // 2]:.3g}" for each in scores.values()]
    says = f"Median score {medians[0]} with the finding, {medians[1]} without."
    drawn.append(("Scores", charts.histogram(scores[True], scores[False], found["threshold"], top, says)))
    yield "<h2>Curves</h2>"
    figures = (f"<figure>{svg}<figcaption>{escape(name)}</figcaption></figure>" for name, svg in drawn)
    yield f'<div class="charts">{"".join(figures)}</div>'


def _calibration(found: Document | None) -> Iterator[str]:
    if found is None:
        return
    yield "<h2>Calibration</h2>"
    yield (
        f"<p>Slope {_number(found['slope'], 2)}, intercept {_number(found['intercept'], 2)} (1 and 0 are perfect); "
        f"Brier {_number(found['brier'])}, of the prevalence alone {_number(found['brier_of_prevalence'])}.</p>"
    )
    rows = [
        (_number(each["mean"]), _number(each["observed"]), _interval(each["observed_ci"]), str(each["n"]))
        for each in found["bins"]
    ]
    yield _table("Bins of equal counts", ("probability said", "share with the finding", "95 %", "n"), rows)


def _use(found: Document) -> Iterator[str]:
    suggested, load = found["suggested"], found["flags_per_day"]
    if suggested or load:
        yield "<h2>In use</h2>"
    if suggested:
        yield (
            f"<p>Suggested, not set: a threshold of {suggested['threshold']:.6g} reaches the wanted sensitivity of "
            f"{suggested['wanted_sensitivity']:g}: sensitivity {_number(suggested['sensitivity'])} "
            f"{_interval(suggested['sensitivity_ci'])}, specificity {_number(suggested['specificity'])} "
            f"{_interval(suggested['specificity_ci'])}.</p>"
        )
    if load:
        flags = ", ".join(f"{count:.1f} {name}" for name, count in load["flags"].items()) or "none"
        yield (
            f"<p>Of {load['studies']:g} studies a day, at a prevalence of {load['prevalence']:.3g}: the finding is "
            f"called in {load['called']:.1f}, in {load['called_falsely']:.1f} of them falsely; flags: {escape(flags)}. "
            f"PPV {_number(load['ppv'], 2)}, NPV {_number(load['npv'], 2)}.</p>"
        )


def _groups(by: Mapping[str, Sequence[Document]]) -> Iterator[str]:
    for name, groups in by.items():
        yield f"<h2>By {escape(name)}</h2>"
        rows = []
        for each in groups:
            shares = [
                f"{_number(each[key], 2)} {_interval(each[f'{key}_ci'], 2)}" for key in ("sensitivity", "specificity")
            ]
            auc = f"{_number(each['auc'])} {_interval(each['auc_ci'], 2)}"
            few = "few: says little by itself" if each["few"] else ""
            rows.append((each["group"], str(each["n"]), str(each["positives"]), auc, *shares, few))
        heads = (name, "n", "positive", "AUC", "sensitivity", "specificity", "")
        yield _table(f"Groups by {name}", heads, rows, dim=[bool(each["few"]) for each in groups])


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], dim: Sequence[bool] = ()) -> str:
    head = "".join(f'<th scope="col">{escape(each)}</th>' if each else "<td></td>" for each in heads)
    lines = []
    for number, (first, *others) in enumerate(rows):
        kind = ' class="few"' if number < len(dim) and dim[number] else ""
        cells = "".join(f"<td>{escape(each)}</td>" for each in others)
        lines.append(f'<tr{kind}><th scope="row">{escape(first)}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _number(value: float | None, decimals: int = 3) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _interval(value: Sequence[float] | None, decimals: int = 3) -> str:
    return "" if value is None else f"[{value[0]:.{decimals}f}, {value[1]:.{decimals}f}]"
