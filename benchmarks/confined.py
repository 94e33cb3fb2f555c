"""What it costs a film that it is decoded and run in the confined process: the shipped chest film model on one drawn
film, by turns in this process and confined.

Wall and CPU time (of both processes) per film, and of a request that does nothing; a film takes two requests. Set
OMP_NUM_THREADS, OPENBLAS_NUM_THREADS and MALLOC_ARENA_MAX to 1 here, as the confined process has them.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from imaging.confined.analyser import ConfinedAnalyser
from imaging.confined.client import Confined
from imaging.domain.findings import Answer
from imaging.inference.analyser import Analyser
from imaging.models.catalogue import load_models
from imaging.models.folders import shipped_folder
from imaging.phantoms.study import film_study
from imaging.roles.analysis import collect


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.confined", description=__doc__)
    parser.add_argument("--films", metavar="N", type=int, default=100, help="how many times (default 100)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args(arguments)
    figures = _measured(options.films)
    lines = [json.dumps(figures, indent=2)] if options.json else [f"{name}: {value}" for name, value in figures.items()]
    print("\n".join(lines))
    return 0


def _measured(films: int) -> dict[str, float]:
    catalogue = load_models([shipped_folder()])
    card = next(each for each in catalogue.models if each.id == "chest-film")
    with tempfile.TemporaryDirectory() as folder, Confined([card], threads=1, memory_mb=None) as process:
        drawn = film_study(1, frozenset(), datetime.now(UTC), rows=2022, columns=1736).instances[0]
        drawn.save_as(Path(folder) / "film.dcm", enforce_file_format=True)
        (sources,) = collect([Path(folder)]).studies.values()
        here, there = Analyser(card, 1), ConfinedAnalyser(process, card)
        here.warm()
        there.warm()
        if _untimed(here.analyse(sources)) != _untimed(there.analyse(sources)):
            raise SystemExit("the answers differ")
        walls: dict[str, list[float]] = {"here": [], "confined": [], "nothing": []}
        cpus = dict.fromkeys(walls, 0.0)
        work: dict[str, Callable[[], object]] = {
            "here": lambda: here.analyse(sources),
            "confined": lambda: there.analyse(sources),
            "nothing": lambda: there.run([]),
        }
        for _ in range(films):
            for name, do in work.items():
                began, spent = time.perf_counter(), _cpu_s(process.pid)
                do()
                walls[name].append(1000 * (time.perf_counter() - began))
                cpus[name] += 1000 * (_cpu_s(process.pid) - spent)
        return {
            "film_bytes": sources[0].path.stat().st_size,
            **{f"{name}_wall_ms": round(statistics.median(each), 2) for name, each in walls.items()},
            **{f"{name}_least_wall_ms": round(min(each), 2) for name, each in walls.items()},
            **{f"{name}_cpu_ms": round(spent / films, 2) for name, spent in cpus.items()},
        }


def _untimed(answer: Answer) -> Answer:
    return replace(answer, timings_ms={})


def _cpu_s(pid: int) -> float:
    """Of this process, and of that one as the scheduler counts it (proc(5), schedstat of its threads)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return time.process_time() + sum(int((each / "schedstat").read_text().split()[0]) for each in threads) / 1e9


if __name__ == "__main__":
    raise SystemExit(main())
