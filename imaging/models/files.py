"""The files of a model's folder that its card names, and those that its weights name in turn."""

from pathlib import Path, PurePosixPath

from imaging.domain.card import WeightsFile
from imaging.domain.tables import Table, rule_name
from imaging.models.copies import digest_of
from imaging.models.network import Signature, signature
from imaging.models.weights import locations


def inside(table: Table, key: str, folder: Path, name: str) -> Path | None:
    """The file or folder `name` of the model's own folder; a link or `..` may not lead out of it."""
    try:
        path = (folder / name).resolve()
        is_there = path.exists()
    except (OSError, RuntimeError, ValueError):  # a folder closed to us, a link to itself, a name that no file can have
        table.fault(key, name, "cannot be reached", f"{rule_name(key)}-unreachable")
        return None
    if not _leads_down(name) or not path.is_relative_to(folder.resolve()):
        table.fault(key, name, "must lie in the model's folder", f"{rule_name(key)}-outside")
        return None
    if not is_there:
        table.fault(key, name, "is not in the model's folder", f"{rule_name(key)}-missing")
        return None
    return path


def held(table: Table, folder: Path, file: str, sha256: str) -> Path | None:
    """A file of the model's own folder, its digest held against the card's; None where it cannot be read."""
    path = inside(table, "file", folder, file)
    if path is None:
        return None
    try:
        found = digest_of(path)
    except OSError as error:
        table.fault("file", file, f"cannot be read: {error.strerror}", "file-unreadable")
        return None
    if found != sha256:
        table.fault("sha256", sha256, f"{file} has the digest {found}", "sha256-differs")
    return path


def weights(table: Table, folder: Path, file: str, sha256: str) -> tuple[tuple[WeightsFile, ...], Signature | None]:
    """The files beside the weights' own, which holds their places and whose digest is held against the card's; and what
    the network takes and gives, as far as the file says it.

    They need not be on the card: they are hashed as they are found. What lies outside the folder is a fault.
    """
    path = held(table, folder, file, sha256)
    if path is None:
        return (), None
    try:
        outside, network = locations(path), signature(path)
    except OSError as error:
        table.fault("file", file, f"cannot be read: {error.strerror}", "file-unreadable")
        return (), None
    own, base = str(PurePosixPath(file)), PurePosixPath(file).parent
    places = {str(base / each): each for each in outside if _is_reached(table, folder, file, each)}
    made = (_hashed(table, folder, file, name, location) for name, location in places.items() if name != own)
    return tuple(each for each in made if each is not None), network


def located(table: Table, folder: Path, file: str) -> list[str]:
    """The files beside an ONNX file that it takes weights from, by their names from its folder. One that is not there,
    or outside, is a fault. Raises OSError.
    """
    return [each for each in locations(folder / file) if _is_reached(table, folder, file, each) and each != file]


def _is_reached(table: Table, folder: Path, file: str, location: str) -> bool:
    """Whether what the weights take from elsewhere is a file in the model's folder, so that a digest can cover it."""
    try:
        path = (folder / file).parent.joinpath(location).resolve()
        is_inside = _leads_down(location) and path.is_relative_to(folder.resolve())
        is_there = path.is_file()
    except (OSError, RuntimeError, ValueError):
        is_inside = is_there = False
    takes = f"takes weights from {location!r}, which"
    if not is_inside:
        rule = f"{takes} is not in the model's folder: export the network with all of its weights there"
        table.fault("file", file, rule, "external-outside")
    elif not is_there:
        table.fault(
            "file", file, f"{takes} does not exist there: copy it to its place beside {file}", "external-missing"
        )
    return is_inside and is_there


def _hashed(table: Table, folder: Path, file: str, name: str, location: str) -> WeightsFile | None:
    try:
        return WeightsFile(name, digest_of(folder / name))
    except OSError as error:
        rule = f"takes weights from {location!r}, which cannot be read: {error.strerror}"
        table.fault("file", file, rule, "external-unreadable")
        return None


def _leads_down(name: str) -> bool:
    """Whether a name leads from a folder downward, by itself."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts
