"""Show counts per state, the oldest work, dead letters, disk, peers, roles and alarms; or the history of one study.

imaging status
imaging status --check                  for a monitor: exit status 1 and the reason if somebody has to look
imaging status --study 1.2.840.113619.2.1 --json
imaging status --row study=12           by a row number from a log line
"""

import json
from contextlib import closing
from typing import Any

from imaging.cli.parsing import UNITS, Arguments, Parser, UsageError, add_home, add_json, ledger_of, settings_of, table
from imaging.domain.alarms import Alarm, Kind
from imaging.domain.disk_space import DiskSpace
from imaging.domain.modes import Mode
from imaging.domain.peers import in_words
from imaging.ledger import status, stories
from imaging.ledger.store import is_begun
from imaging.ledger.stories import NUMBERED
from imaging.roles.health import health_of
from imaging.roles.locks import running_roles
from imaging.settings import Settings
from imaging.spool import disk_space_on


def options(parser: Parser) -> None:
    """Adds the command's arguments."""
    add_home(parser)
    add_json(parser)
    parser.add_argument("--check", action="store_true", help="print only the alarms; exit status 1 if there is one")
    parser.add_argument(
        "--study", metavar="UID|ACCESSION", help="one study: receipt, completeness, results, deliveries"
    )
    parser.add_argument(
        "--row", metavar="N", help="the study of a row number in a log line: 12, study=12, job=7, delivery=3, copy=2"
    )


def run(arguments: Arguments) -> int:
    """Runs the command. Returns its exit status."""
    faults = ["--study: expected a Study Instance UID or an accession number"] if arguments.study == "" else []
    row = None if arguments.row is None else _row(arguments.row, faults)
    chosen = [name for name in ("study", "row", "check") if getattr(arguments, name)]
    faults += [f"{' and '.join(f'--{each}' for each in chosen)}: expected only one of them"] if len(chosen) > 1 else []
    found = settings_of(arguments, faults)
    if not is_begun(found.home, found.database):
        return _never_served(found, arguments)
    with closing(ledger_of(arguments)) as ledger:
        if arguments.study:
            return _study(stories.named(ledger, arguments.study), arguments)
        if row is not None:
            return _study(stories.of_row(ledger, *row), arguments)
        document = status.of(ledger, running_roles(found.home)) | {"disk": _disk(_disk_space(found))}
        health = health_of(ledger, found.home, _reserve_bytes(found), found.longest_wait_s)
    is_alarmed = _print(document, list(health.alarms), arguments)
    return is_alarmed if arguments.check else 0


def _print(document: dict[str, Any], alarms: list[Alarm], arguments: Arguments) -> int:
    """Prints it; 1 where there is an alarm."""
    if arguments.json:
        output = document | {"alarms": [each.to_json() for each in alarms]}
        print(json.dumps(output, indent=2, ensure_ascii=False))
    elif arguments.check:
        print("\n".join(each.words for each in alarms) or "no alarm")
    else:
        print("\n".join([_overview(document), *(f"alarm: {each.words}" for each in alarms)]))
    return 1 if alarms else 0


def _never_served(settings: Settings, arguments: Arguments) -> int:
    never = Alarm(Kind.NEVER_SERVED, str(settings.home))
    _print(NOTHING | {"disk": _disk(_disk_space(settings))}, [never], arguments)
    return 1


def _row(text: str, faults: list[str]) -> tuple[str, int] | None:
    """The kind and the number of a row, as logs print them: "study=12"; a number alone is a study's."""
    kind, _, number = text.rpartition("=")
    if number.isdecimal() and len(number) < 19 and (kind or "study") in NUMBERED:
        return kind or "study", int(number)
    faults.append(f"--row {text!r}: expected a number or one of {', '.join(f'{each}=N' for each in NUMBERED)}")
    return None


def _reserve_bytes(settings: Settings) -> int:
    return int(settings.disk_reserve_mb * (1 << 20))


def _disk_space(settings: Settings) -> DiskSpace:
    """The room on the disk of the home, with the reserve that the settings give it."""
    folder = next(each for each in (settings.home, *settings.home.absolute().parents) if each.exists())
    return disk_space_on(folder, _reserve_bytes(settings))


def _disk(space: DiskSpace) -> dict[str, Any]:
    return {
        "free_mb": space.free >> 20,
        "reserve_mb": space.reserve >> 20,
        "is_full": space.is_full,
        "free_inodes": space.free_inodes,
        "reserve_inodes": space.reserve_inodes,
    }


def _study(stories: list[dict[str, Any]], arguments: Arguments) -> int:
    if not stories:
        name = (
            f"the Study Instance UID or accession number {arguments.study!r}"
            if arguments.study
            else f"the row {arguments.row}"
        )
        raise UsageError(f"no study has {name}")
    print(json.dumps({"studies": stories}, indent=2, ensure_ascii=False) if arguments.json else _stories(stories))
    return 0


NOTHING: dict[str, Any] = {
    "studies": {"receiving": 0, "settled": 0},
    "jobs": {"queued": 0, "leased": 0, "analysed": 0, "not_analysed": 0, "failed": 0},
    "deliveries": {"waiting": 0, "sending": 0, "delivered": 0, "dead": 0},
    "instances": 0,
    "conflicts": 0,
    "unjudged": 0,
    "oldest_s": {"receiving": None, "job": None, "delivery": None},
    "dead_letters": [],
    "peers": [],
    "roles": [],
    "models": [],
}
"""What is said of a home that was never served."""


def _overview(document: dict[str, Any]) -> str:
    rows = [["", "state", "count"]]
    for kind in ("studies", "jobs", "deliveries"):
        rows += [[kind, state, count] for state, count in document[kind].items()]
    rows += [["instances", "", document["instances"]], ["conflicts", "open", document["conflicts"]]]
    lines = [table(rows), ""]
    full = ": objects are refused" if document["disk"]["is_full"] else ""
    lines += [f"disk: {document['disk']['free_mb']} MiB free, reserve {document['disk']['reserve_mb']}{full}"]
    if document["disk"]["free_inodes"] is not None:
        lines += [f"inodes: {document['disk']['free_inodes']} free, reserve {document['disk']['reserve_inodes']}"]
    lines += [f"oldest {what}: {age:g} s" for what, age in document["oldest_s"].items() if age is not None]
    lines += [f"dead: {each['count']} for {each['destination']}: {each['why']}" for each in document["dead_letters"]]
    lines += [_peer(each) for each in document["peers"]]
    lines += [_model(each) for each in document["models"]]
    lines += [f"role {each['name']}: {each['state']} {each['error']}".rstrip() for each in document["roles"]]
    return "\n".join(lines).rstrip()


def _model(model: dict[str, Any]) -> str:
    mode = f" (mode {model['mode']})" if model["mode"] != Mode.LIVE else ""
    return f"model {model['name']} {model['version']}{mode}: {model['state']} {model['why']}".rstrip()


def _peer(peer: dict[str, Any]) -> str:
    waiting = f", {peer['waiting']} waiting" if peer["waiting"] else ""
    return f"peer {peer['name']}: {peer['state']} {peer['why']}".rstrip() + waiting


def _stories(stories: list[dict[str, Any]]) -> str:
    return "\n\n".join(_story(each) for each in stories)


def _story(story: dict[str, Any]) -> str:
    lines = [f"study {story['study_uid']} (row {story['row']}): {story['state']}"]
    if story["waits_for"]:
        lines.append(f"  waits for: {story['waits_for']}")
    if story["reason"]:
        lines.append(f"  not analysed: {story['reason']}")
    if story["conflicts"]:
        lines.append(f"  open conflicts: {story['conflicts']}; `imaging conflicts list`")
    if story["corrections"]:
        lines.append(f"  corrected copies: {story['corrections']}")
    for each in story["copies"]:
        judgement = f": {each['judgement']}" if each["judgement"] else ""
        lines.append(f"  kept apart {each['id']}, {each['received_at']}: {each['state']}, {each['why']}{judgement}")
    for each in story["received"]:
        who = in_words(each["calling_ae_title"], each["address"]) if each["id"] else "an earlier run"
        lines.append(f"  received {each['instances']} instances from {who}, {each['first_at']} to {each['last_at']}")
    for each in story["shared"]:
        lines.append(f"  the UID {each['sop_instance_uid']} is also the UID of an object of study {each['study_uid']}")
    if story["returned"]:
        lines.append(f"  {len(story['returned'])} of our own reports came back")
    for each in story["revisions"]:
        lines.append(f"  revision {each['number']} complete at {each['settled_at']} by: {each['signal']}")
    for each in story["results"]:
        reason = f": {each['reason']}" if each["reason"] else ""
        mode = f" (mode {each['mode']})" if each["mode"] != Mode.LIVE else ""
        answer = f"{each['model']} {each['version']}{mode} answer {each['result_number']}"
        lines.append(f"  {answer}: {each['state']}{reason}")
        if each["no_report"]:
            lines.append(f"    no report: {each['no_report']}")
        for finding in each["findings"]:
            lines.append(f"    {finding['meaning']}: {_finding(finding)}")
    for each in story["deliveries"]:
        if each["destination"] is None:
            lines.append(f"  {each['kind']}: no destination")
        else:
            lines.append(f"  {each['kind']} to {each['destination']}: {each['state']} {each['why'] or ''}".rstrip())
    return "\n".join(lines)


def _finding(finding: dict[str, Any]) -> str:
    """Whether it was found, in a word, and what was measured of it."""
    is_number = finding.get("measured_only", False)
    verdict = "measured" if is_number else {True: "present", False: "absent"}.get(finding["present"], "undetermined")
    sizes = [
        f"{each['meaning']} {each['value']:g} {UNITS.get(each['unit'], each['unit'])}".rstrip()
        for each in finding.get("measurements", ())
    ]
    probability = [f"probability {finding['probability']:g}"] if finding["probability"] is not None else []
    return ", ".join([verdict, *probability, *sizes])
