"""Which real films chest-film learns from and which it is judged on, and the tables of labels for judging it.

    python weights/chest-film/held_out.py --data /path/to/shared/data --out /tmp/film

writes effusion.csv and cardiomegaly.csv with the films of adults that nothing was learned from; then

    imaging models evaluate chest-film /path/to/shared/data/cxr/films --labels /tmp/film/effusion.csv --finding 60046008

prints the figures that card.toml has under [[evidence]]. Needs numpy alone.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SEED = 20261124
TEST_SHARE, HALF_SHARE = 0.38, 0.31
SHIPPED = ("effusion", "cardiomegaly", "abnormal")
REPORTED = ("effusion", "cardiomegaly")
OTHERS = ("Atelectasis", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax", "Consolidation", "Edema",
          "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia")


@dataclass
class Film:
    """One film and what is known of it. A label of NaN is unknown and not learned from."""

    name: str
    patient: str
    age: float = math.nan
    male: bool = False
    view: str = "PA"
    labels: np.ndarray = field(default_factory=lambda: np.full(len(SHIPPED) + len(OTHERS), np.nan, np.float32))
    boxes: list[tuple[str, float, float, float, float]] = field(default_factory=list)
    is_boxed_folder: bool = False
    path: Path | None = None


def read_films(folder: Path, *, is_boxed_folder: bool) -> list[Film]:
    films = []
    for row in csv.DictReader((folder / "labels.csv").open()):
        labels = np.array(
            [float(row["Effusion"]), float(row["Cardiomegaly"]), float(row["any_abnormality"])]
            + [float(row[other]) for other in OTHERS], np.float32)
        if is_boxed_folder:
            labels[2] = np.nan
        film = Film(name=row["file"], patient=row["patient_id"], age=float(row["age"]), male=row["sex"] == "M",
                    view=row["view"], labels=labels, is_boxed_folder=is_boxed_folder,
                    path=folder / "films" / row["file"])
        film.boxes = read_boxes(row.get("boxes_384px_label_x_y_w_h") or "")
        films.append(film)
    return films


def read_boxes(text: str) -> list[tuple[str, float, float, float, float]]:
    boxes = []
    for part in filter(None, (part.strip() for part in text.replace(";", "|").split("|"))):
        label, *numbers = part.replace(":", " ").replace(",", " ").split()
        x, y, w, h = (float(number) / 384 for number in numbers)
        boxes.append((label.replace("Infiltrate", "Infiltration"), x, y, w, h))
    return boxes


def split(data: Path) -> dict[str, list[Film]]:
    """Films by part: boxed, first and second half of the films to learn from, test."""
    plain = read_films(data / "cxr", is_boxed_folder=False)
    boxed = [film for film in read_films(data / "training/cxr_boxes", is_boxed_folder=True) if film.boxes]
    shown = {row["source_film"] for row in csv.DictReader((data / "cxr/dicom/truth.csv").open())}
    rng = np.random.default_rng(SEED)
    part_of: dict[str, str] = {}
    groups: dict[tuple[object, ...], list[Film]] = defaultdict(list)
    for film in plain:
        if film.name.removesuffix(".jpg") in shown:
            part_of[film.patient] = "test"
        elif film.age < 18:
            part_of[film.patient] = "first"
        else:
            groups[(*film.labels[:3].tolist(), film.view)].append(film)
    for key in sorted(groups):
        members = groups[key]
        rng.shuffle(members)  # type: ignore[arg-type]
        tests = round(len(members) * TEST_SHARE + rng.uniform(-0.4, 0.4))
        seconds = round(len(members) * HALF_SHARE + rng.uniform(-0.4, 0.4))
        for index, film in enumerate(members):
            part = "test" if index < tests else "second" if index < tests + seconds else "first"
            part_of[film.patient] = part
    parts: dict[str, list[Film]] = {"first": [], "second": [], "test": []}
    for film in plain:
        parts[part_of[film.patient]].append(film)
    parts["boxed"] = [film for film in boxed if film.patient not in part_of]
    return parts


def write_tables(data: Path, out: Path) -> None:
    """A table for each finding: the test films of adults, with what else is known of their patients."""
    out.mkdir(parents=True, exist_ok=True)
    films = [film for film in split(data)["test"] if film.age >= 18]
    for channel, name in enumerate(REPORTED):
        with (out / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label", "patient_id", "age", "sex", "view"])
            for film in films:
                known = (film.patient, f"{film.age:g}", "M" if film.male else "F", film.view)
                rows.writerow([film.path.resolve(), int(film.labels[channel]), *known])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cxr/ and training/cxr_boxes/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables, outside the repository")
    asked = parser.parse_args()
    write_tables(asked.data, asked.out)
