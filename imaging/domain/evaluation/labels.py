"""The table of labels: `path,label` or `study_uid,label`, as CSV with a head."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from imaging.domain.evaluation.about import About

KEYS: Final = ("path", "study_uid")
_DELIMITERS: Final = (",", ";", "\t")


@dataclass(frozen=True)
class Row:
    """A line of the table: `key` is a path or a Study Instance UID, as `Table.key` says."""

    line: int
    key: str
    label: bool
    about: About


@dataclass(frozen=True)
class Table:
    """`faults`: one text each, with its line's number; rows with a fault are left out."""

    key: Literal["path", "study_uid"]
    rows: tuple[Row, ...]
    faults: tuple[str, ...]


def read_table(text: str) -> Table:
    """The table in a file's text. Columns are separated by commas, semicolons or tabs, as the head has them.

    Beside the two columns `patient_id`, `age` (years, or as DICOM has it: 045Y), `sex`, `view` and `scanner` are read
    where they are there; others are ignored.
    """
    head = text.lstrip("\ufeff\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=delimiter)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        return Table("path", (), (f"line {reader.line_num}: is no CSV: {error}",))
    if not lines:
        return Table("path", (), ("is empty: expected a head, path,label or study_uid,label",))
    names = [each.strip().lower() for each in lines[0][1]]
    key = next((each for each in KEYS if each in names), None)
    if key is None or "label" not in names:
        return Table(
            "path", (), (f"line {lines[0][0]}: columns {', '.join(names)}: expected path (or study_uid) and label",)
        )
    faults: list[str] = []
    rows = tuple(_rows(lines[1:], names, key, faults))
    if not rows and not faults:
        faults.append("has no labels, only a head")
    return Table("path" if key == "path" else "study_uid", rows, tuple(faults))


def _rows(lines: list[tuple[int, list[str]]], names: list[str], key: str, faults: list[str]) -> Iterator[Row]:
    seen: dict[str, int] = {}
    for line, values in lines:
        cells = {name: value.strip() for name, value in zip(names, values, strict=False)}
        name, label = cells.get(key, ""), cells.get("label", "")
        if not name:
            faults.append(f"line {line}: {key} is empty")
        elif label not in ("0", "1"):
            faults.append(f"line {line}: label {label!r} of {name}: expected 0 or 1")
        elif name in seen:
            faults.append(f"line {line}: {name}: a second label; the first is in line {seen[name]}")
        else:
            seen[name] = line
            yield Row(line, name, label == "1", _about(cells))


def _about(cells: Mapping[str, str]) -> About:
    age = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*Y?", cells.get("age", ""), re.IGNORECASE)
    return About(
        patient=cells.get("patient_id", ""),
        age=float(age[1]) if age else None,
        sex=cells.get("sex", "").upper()[:1],
        view=cells.get("view", "").upper(),
        scanner=cells.get("scanner", ""),
    )
