"""Every setting once: name, type, default, meaning. TOML, environment and flags are three spellings of this table.

Read by the command line and the supervisor only; everything below gets values. All faults are said in one answer.
"""

import difflib
import logging
import os
import tomllib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from imaging import crash
from imaging.domain import modes
from imaging.domain.languages import LANGUAGES, Language
from imaging.domain.orientation import ANYBODY
from imaging.domain.patient import placeholder_words
from imaging.domain.peers import (
    MAX_ASSOCIATIONS,
    Address,
    Caller,
    Times,
    is_loopback,
    is_plain_title,
    plain_address,
)
from imaging.domain.site_words import SiteWord, contradictions
from imaging.models.devices import FORM
from imaging.models.folders import ModelsFolder, folder_faults, ids_in, to_serve
from imaging.roles.machine_memory import MAX_MB, MIN_MB, of_a_worker
from imaging.web.settings import host_faults, viewer_faults

log = logging.getLogger(__name__)

PREFIX: Final = "IMAGING_"
ROLES: Final = ("node", "worker", "deliver", "web")
TABLE: Final = "destination"
OUTCOMES: Final = ("positive", "negative", "not_analysed", "failed")


class SettingError(Exception):
    """What was asked wrongly: one line per fault, each with the form wanted."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(faults))


class _BadValue(ValueError):
    """A value that cannot be used; the text says the form wanted."""


@dataclass(frozen=True)
class Destination:
    """A peer that results go to, which of them it takes, and how long it may take."""

    name: str
    address: Address
    outcomes: frozenset[str] = frozenset(OUTCOMES)
    times: Times = Times()


def _megabytes(text: str) -> float:
    value = _number(text)
    if value < MIN_MB:
        raise _BadValue(f"is too little for a worker; expected {MIN_MB:.0f} or more")
    return value


def _megabytes_of_object(text: str) -> float:
    value = _number(text)
    if value < 1:
        raise _BadValue("is too little for an image; expected 1 or more")
    return value


def _text(text: str) -> str:
    return text


def _word(text: str) -> str:
    if not placeholder_words([text]):
        raise _BadValue("is not a word")
    return text


def _ae_title(text: str) -> str:
    if not 0 < len(text) <= 16:
        raise _BadValue(f"has {len(text)} characters; AE titles have 1 to 16 (PS3.5 6.2)")
    if not is_plain_title(text):
        raise _BadValue("may contain only printable ASCII without backslash, and no space at either end (PS3.5 6.2)")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) < 65536:
        raise _BadValue("is not a port; expected a number from 0 (any free port) to 65535")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _BadValue("is not a number") from None
    if not 0 <= value < 1e9:
        raise _BadValue("must be from 0 to 1000000000")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise _BadValue("is not a valid count; expected a number from 1 to 64")
    return int(text)


def _connections(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MAX_ASSOCIATIONS:
        raise _BadValue(f"is not a valid count; expected a number from 1 to {MAX_ASSOCIATIONS}")
    return int(text)


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _models_folder(text: str) -> ModelsFolder:
    if text in ("", "+"):
        raise _BadValue("is not a folder")
    return ModelsFolder.parse(text)


def _caller(text: str) -> Caller:
    title, at, address = text.partition("@")
    if not title or not at or not address:
        raise _BadValue("is not of the form AET@ADDRESS, such as CT1@10.0.0.7")
    try:
        return Caller(_ae_title(title), plain_address(address.strip("[]")))
    except ValueError as error:
        if isinstance(error, _BadValue):
            raise
        raise _BadValue(f"has the address {address!r}; expected one IP address, as in CT1@10.0.0.7") from None


def _destination(text: str) -> Destination:
    name, equals, rest = text.partition("=")
    if not equals or not name:
        raise _BadValue("is not of the form NAME=AET@HOST:PORT, such as PACS=PACS@10.0.0.5:104")
    try:
        return Destination(name, Address.parse(rest))
    except ValueError as error:
        raise _BadValue(f"is not of the form NAME=AET@HOST:PORT: {error}") from None


DESTINATION_KEYS: Final = ("name", "address", "outcomes", "times")


def _destination_tables(source: str, found: Any, faults: list[str]) -> tuple[Destination, ...]:
    """The file's `[[destination]]` tables that can be used; the faults of the others are noted."""
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        faults.append(f"{source}: expected tables, each under a line [[destination]]")
        return ()
    read = []
    for number, each in enumerate(found, 1):
        wrong = _table_faults(each)
        faults += [f"{source} {number}: {fault}" for fault in wrong]
        if not wrong:
            chosen = frozenset(each.get("outcomes", OUTCOMES))
            times = Times.parse(each["times"]) if "times" in each else Times()
            read.append(Destination(each["name"], Address.parse(each["address"]), chosen, times))
    return tuple(read)


def _table_faults(found: Mapping[str, Any]) -> list[str]:
    unknown_keys = found.keys() - set(DESTINATION_KEYS)
    faults = [f"{key} is not a key of a destination{_nearest_key(key)}" for key in unknown_keys]
    name, address, outcomes = found.get("name"), found.get("address"), found.get("outcomes", list(OUTCOMES))
    if not isinstance(name, str) or not name or "=" in name:
        faults.append('name is missing or not a name; expected text without "=", such as name = "PACS"')
    try:
        Address.parse(address if isinstance(address, str) else "")
    except ValueError as error:
        faults.append(f"address is missing or not of the form AET@HOST:PORT: {error}")
    if not isinstance(outcomes, list) or not outcomes:
        faults.append(f"outcomes: expected a list of {', '.join(OUTCOMES)}")
    else:
        unknown = [str(each) for each in outcomes if each not in OUTCOMES]
        faults += [f"{each!r} is not an outcome{nearest(each, OUTCOMES)}" for each in unknown]
    try:
        Times.parse(found.get("times", str(Times())))
    except (ValueError, AttributeError):
        faults.append(f'times: expected "{Times()}" or a part of it, in seconds, at most 3600')
    return sorted(faults)


def _nearest_key(key: str) -> str:
    return (
        '; expected address = "AET@HOST:PORT"' if key in (*_MEANT, *_MEANT.values()) else nearest(key, DESTINATION_KEYS)
    )


def _outcomes(text: str) -> tuple[str, frozenset[str]]:
    name, equals, rest = text.partition("=")
    chosen = frozenset(each for each in rest.split("+") if each)
    if not equals or not name or not chosen or not chosen <= set(OUTCOMES):
        raise _BadValue(f"is not of the form NAME=OUTCOME+OUTCOME with outcomes from {', '.join(OUTCOMES)}")
    return name, chosen


def _times(text: str) -> tuple[str, Times]:
    name, equals, rest = text.partition("=")
    try:
        if equals and name:
            return name, Times.parse(rest)
    except ValueError:
        pass
    raise _BadValue(f"is not of the form NAME={Times()} or a part of it, in seconds, at most 3600")


def _site_word(text: str) -> str:
    try:
        SiteWord.parse(text)
    except ValueError as error:
        raise _BadValue(str(error)) from None
    return text


def _model_mode(text: str) -> str:
    try:
        modes.parse(text)
    except ValueError as error:
        raise _BadValue(str(error)) from None
    return text


def _host_name(text: str) -> str:
    if faults := host_faults(text):
        raise _BadValue("; ".join(faults))
    return text


def _viewer(text: str) -> str:
    if faults := viewer_faults(text):
        raise _BadValue("; ".join(faults))
    return text


def _device(text: str) -> str:
    if not FORM.fullmatch(text):
        raise _BadValue("is not a device; expected auto, cpu, cuda or cuda:N, such as cuda:0")
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise _BadValue(f"is not one of {', '.join(allowed)}")
        return text

    return parse


_DEFAULT_HOME = Path("~/.local/share/imaging").expanduser()


def _setting(parse: Callable[[str], Any], default: Any, form: str, meaning: str, *, many: bool = False) -> Any:
    notes = {"parse": parse, "form": form, "meaning": meaning, "many": many}
    return field(default=default, metadata=notes)


@dataclass(frozen=True)
class Settings:
    """The settings of a home. The comments of the fields are docs/configuration.md and `imaging serve --help`."""

    home: Path = _setting(_path, _DEFAULT_HOME, "DIR", "folder of the ledger and the spool")
    role: str = _setting(_one_of("all", *ROLES), "all", "ROLE", "what to run: all, node, worker, deliver or web")
    site: str = _setting(
        _text, "", "NAME", "name of this site; stored with each study and association that this node receives"
    )
    ae_title: str = _setting(_ae_title, "IMAGING", "AET", "our AE title, as called and as calling AE title")
    dicom_host: str = _setting(
        _text, "127.0.0.1", "HOST", "address to listen on for DICOM; beyond loopback `accept` is required"
    )
    dicom_port: int = _setting(_port, 11112, "PORT", "port to listen on for DICOM; 0: any free port")
    accept: tuple[Caller, ...] = _setting(
        _caller,
        (),
        "AET@ADDRESS",
        "who may send to us; *@ADDRESS: with any AE title; if not set: everybody on loopback",
        many=True,
    )
    connections_per_address: int = _setting(
        _connections, 64, "N", "maximum number of simultaneous connections from one address"
    )
    ignore_patient_orientation: tuple[str, ...] = _setting(
        _ae_title,
        (),
        "AET",
        "a sender (calling AE title) whose films' Patient Orientation is ignored, for example because a modality "
        f"writes a wrong default; {ANYBODY}: every sender",
        many=True,
    )
    deliver_to: tuple[Destination, ...] = _setting(
        _destination, (), "NAME=AET@HOST:PORT", "a PACS to which results are sent", many=True
    )
    deliver_outcomes: tuple[tuple[str, frozenset[str]], ...] = _setting(
        _outcomes,
        (),
        "NAME=OUTCOME+...",
        f"which results a destination gets, of {', '.join(OUTCOMES)}; destinations without it get all",
        many=True,
    )
    deliver_times: tuple[tuple[str, Times], ...] = _setting(
        _times,
        (),
        "NAME=PHASE:SECONDS+...",
        "time-outs of a destination in seconds: for the connection (connect), for accepting the association (accept), "
        f"and for the response to an object (response); default {Times()}",
        many=True,
    )
    web_host: str = _setting(
        _text, "127.0.0.1", "HOST", "address to serve the worklist on; only loopback until there are accounts"
    )
    web_port: int = _setting(_port, 8080, "PORT", "port to serve the worklist on; 0: any free port")
    web_hosts: tuple[str, ...] = _setting(
        _host_name,
        (),
        "HOST",
        "a further host name under which the worklist is served, such as a proxy's, besides loopback's and web_host",
        many=True,
    )
    viewer_url: str = _setting(
        _viewer, "", "URL", "link from each row; {study_uid}, {accession_number} and {patient_id} are filled in"
    )
    language: Language = _setting(
        _one_of(*LANGUAGES),
        "vi",
        "LANG",
        "initial language of the page, and language of imaging's own texts in reports: vi, fr or en",
    )
    models: tuple[ModelsFolder, ...] = _setting(
        _models_folder,
        (),
        "[+]DIR",
        "folder of a model, or of several models, to serve instead of the shipped ones; with +: beside them",
        many=True,
    )
    model_mode: tuple[str, ...] = _setting(
        _model_mode,
        (),
        "ID=MODE",
        "what is done with a model's answers, whatever its card says: live; findings: shown and sent, but no flag; "
        "shadow: stored only",
        many=True,
    )
    site_words: tuple[str, ...] = _setting(
        _site_word,
        (),
        "MEANING=WORDS",
        "meaning of this site's own words in headers: a body part of PS3.16, PA, AP, FRONTAL, LATERAL, contrast, "
        "no-contrast, t1, t2, pd or flair",
        many=True,
    )
    workers: int = _setting(_count, 1, "N", "number of worker processes")
    worker_memory_mb: float | None = _setting(
        _megabytes,
        None,
        "MB",
        f"memory limit per worker; default: an equal share of three quarters of the machine's, at most {MAX_MB:.0f}",
    )
    device: str = _setting(
        _device,
        "auto",
        "DEVICE",
        "what runs networks: cpu; cuda or cuda:N, which need an NVIDIA device and onnxruntime-gpu, or torch for CUDA; "
        "auto: cuda where it can be used, else cpu",
    )
    film_quiet_s: float = _setting(_number, 2.0, "S", "CR, DX: seconds after the last image until a study is complete")
    volume_quiet_s: float = _setting(
        _number, 2.0, "S", "CT, MR: seconds after the end of the association, if no slice is missing"
    )
    volume_gap_s: float = _setting(
        _number, 10.0, "S", "CT, MR: seconds after the end of the association, if a slice seems to be missing"
    )
    volume_open_s: float = _setting(
        _number, 60.0, "S", "CT, MR: seconds without an image while the association is open"
    )
    volume_cut_s: float = _setting(
        _number, 60.0, "S", "CT, MR: seconds that a study waits for the return of a sender that was cut off"
    )
    longest_wait_s: float = _setting(_number, 900.0, "S", "maximum seconds that a study waits after its first image")
    revision_interval_s: float = _setting(_number, 60.0, "S", "minimum seconds between two revisions of a study")
    patient_placeholders: tuple[str, ...] = _setting(
        _word,
        (),
        "WORD",
        "what this site writes for an unknown patient, besides 0000, UNKNOWN, ANONYMOUS and XXX",
        many=True,
    )
    disk_reserve_mb: float = _setting(
        _number, 2048.0, "MB", "free disk space below which objects are refused (or 5 % of the disk, if that is less)"
    )
    max_object_mb: float = _setting(
        _megabytes_of_object,
        4096.0,
        "MB",
        "size of the largest object accepted; larger ones are read to their end and refused",
    )
    database: str = _setting(_text, "", "URL", "SQLAlchemy URL of the ledger; default: SQLite in the home")
    destination_tables: tuple[Destination, ...] = ()
    """The `[[destination]]` tables of the settings file, which have no flag; deliver_to adds to them."""

    @property
    def model_folders(self) -> list[Path]:
        """Where the models that are served lie: never empty."""
        return to_serve(self.models)

    @property
    def memory_of_a_worker_mb(self) -> float:
        """What was set, else the worker's part of what the machine has."""
        return of_a_worker(self.workers) if self.worker_memory_mb is None else self.worker_memory_mb

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """Where results go, with the outcomes that each takes."""
        outcomes, times = dict(self.deliver_outcomes), dict(self.deliver_times)
        return tuple(
            replace(each, outcomes=outcomes.get(each.name, each.outcomes), times=times.get(each.name, each.times))
            for each in (*self.destination_tables, *self.deliver_to)
        )

    @property
    def shared_addresses(self) -> tuple[tuple[Address, tuple[str, ...]], ...]:
        """Addresses that several destinations have, with their names: what they all take goes there so often."""
        names: dict[tuple[str, str, int], list[Destination]] = {}
        for each in self.destinations:
            where = each.address
            names.setdefault((where.ae_title, where.host.lower(), where.port), []).append(each)
        shared = [found for found in names.values() if len(found) > 1]
        return tuple((found[0].address, tuple(each.name for each in found)) for found in shared)


def table() -> dict[str, Field[Any]]:
    """The settings that have a flag, by name."""
    return {each.name: each for each in fields(Settings) if each.metadata}


def parser(name: str) -> Callable[[str], Any]:
    """What makes a value out of a setting's text; raises ValueError with the form wanted."""
    parse: Callable[[str], Any] = table()[name].metadata["parse"]
    return parse


def flag(name: str) -> str:
    """A setting's flag."""
    return "--" + name.replace("_", "-")


def load(
    flags: Mapping[str, str | Sequence[str]],
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    needs_models: bool = False,
) -> Settings:
    """The settings from flags, environment and file, in this order of strength. Raises SettingError with all faults.

    `needs_models`: whether it is a fault that there are none where they are said to be.
    """
    faults: list[str] = []
    data = dict(_from_file(config, faults))
    tables_source, tables = data.pop(TABLE, (TABLE, []))
    data |= _from_environment(os.environ if environ is None else environ)
    data |= {name: (flag(name), value) for name, value in flags.items()}
    values: dict[str, Any] = {}
    for name, (source, value) in data.items():
        _parse_into(values, name, source, value, faults)
    settings = Settings(**values, destination_tables=_destination_tables(tables_source, tables, faults))
    faults += _disagreements(settings, data)
    named = [each.path for each in settings.models] if needs_models else []
    faults += [f"--models {each}" for each in folder_faults(named)]
    faults += _mode_faults(settings) if needs_models else []
    if faults:
        raise SettingError(faults)
    return settings


def _from_file(config: Path | None, faults: list[str]) -> Iterable[tuple[str, tuple[str, Any]]]:
    if config is None:
        return
    try:
        found = tomllib.loads(config.read_text())
    except OSError as error:
        faults.append(f"{config}: cannot be read: {error.strerror}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{config}: is not valid TOML: {error}")
        return
    known = table()
    for name, value in found.items():
        if name in known or name == TABLE:
            yield name, (f"{config}: {name}", value)
        else:
            faults.append(f"{config}: {name} is not a setting{nearest(name, [*known, TABLE])}")


_MEANT: Final = {"port": "dicom_port", "host": "dicom_host", "aet": "ae_title", "title": "ae_title"}
"""What is said of a DICOM node in one word, beside the words that spelling alone would find."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message on a name that is unknown: what may have been meant."""
    names = list(known)
    plain = {each.strip("-").replace("-", "_"): each for each in names}
    meant = _MEANT.get(name.strip("-").replace("-", "_").lower(), "")
    if meant in plain:
        return f"; did you mean {plain[meant]}?"
    near = difflib.get_close_matches(name, names, 1, 0.5)
    if meant == "dicom_port":
        return "; the DICOM port is --dicom-port of `imaging serve`"
    return f"; did you mean {near[0]}?" if near else f"; available: {', '.join(sorted(names))}"


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    known, found = table(), {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable == crash.VARIABLE:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in known:
            many = known[name].metadata["many"]
            found[name] = (variable, [each for each in value.split(",") if each] if many else value)
        else:
            log.warning("variable_unknown name=%s%s", variable, nearest(name, known))
    return found


def _parse_into(values: dict[str, Any], name: str, source: str, value: Any, faults: list[str]) -> None:
    """What can be used of a value; its faults are noted, and leave the default."""
    notes = table()[name].metadata
    if notes["many"]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            faults.append(f'{source}: expected a list: ["{notes["form"]}", ...]')
            return
        values[name] = tuple(one for each in value for one in _parsed(source, each, notes, faults))
    elif isinstance(value, bool) or not isinstance(value, str | int | float):
        faults.append(f"{source}: expected one value of the form {notes['form']}")
    else:
        for one in _parsed(source, value, notes, faults):
            values[name] = one


def _parsed(source: str, value: Any, notes: Mapping[str, Any], faults: list[str]) -> list[Any]:
    """The value, or nothing and one fault more."""
    try:
        return [notes["parse"](str(value))]
    except _BadValue as error:
        faults.append(f"{source} {str(value)!r} {error}")
        return []


def _disagreements(settings: Settings, text: Container[str]) -> list[str]:
    """Faults of settings that are well formed each. `text`: those that were said, well formed or not."""
    faults = []
    if not is_loopback(settings.dicom_host) and not settings.accept:
        faults.append(
            f"--dicom-host {settings.dicom_host!r} is beyond loopback, where unknown callers are refused: list who may "
            "send, with --accept AET@ADDRESS for each"
        )
    if not is_loopback(settings.web_host):
        faults.append(
            f"--web-host {settings.web_host!r} is beyond loopback, which requires accounts, and this "
            "version has none. Use 127.0.0.1 and a tunnel"
        )
    twice = contradictions([SiteWord.parse(each) for each in settings.site_words])
    faults += [f"--site-words gives two meanings for {words!r}" for words in twice]
    names = [each.name for each in settings.destinations]
    faults += [_named_twice(settings, name) for name in sorted({each for each in names if names.count(each) > 1})]
    faults += [
        f"--{what} names {name}, which {_namers(settings)} not{nearest(name, names) if names else ''}"
        for what, chosen in (("deliver-outcomes", settings.deliver_outcomes), ("deliver-times", settings.deliver_times))
        for name, _ in chosen
        if name not in names and (names or "deliver_to" not in text)
    ]
    return faults


def _named_twice(settings: Settings, name: str) -> str:
    if all(each.name != name for each in settings.destination_tables):
        return f"--deliver-to names {name} twice"
    return f"two destinations are named {name}, of [[destination]] and --deliver-to: give each its own name"


def _namers(settings: Settings) -> str:
    return "[[destination]] and --deliver-to do" if settings.destination_tables else "--deliver-to does"


def _mode_faults(settings: Settings) -> list[str]:
    """Models that are given two modes, or that there are none of."""
    if not settings.model_mode:
        return []
    known = ids_in(settings.model_folders)
    named = sorted(modes.modes_of(settings.model_mode))
    twice = modes.contradictions(settings.model_mode)
    return [f"--model-mode gives two modes for {each}" for each in twice] + [
        f"--model-mode names {each}, which is no model here{nearest(each, known)}"
        for each in named
        if each not in known
    ]
