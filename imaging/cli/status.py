"""Counts per state, the oldest that waits, dead letters, disk, peers and roles; or the whole story of one study.

imaging status
imaging status --study 1.2.840.113619.2.1 --json
"""

import json
from typing import Any

from imaging.cli.asking import Asked, Parser, Wrong, add_home, add_json, ledger_of, settings_of, table
from imaging.domain.peers import in_words
from imaging.ledger import views
from imaging.ledger.store import is_begun
from imaging.settings import Settings
from imaging.spool import Room
from imaging.supervise import running_roles


def options(parser: Parser) -> None:
    add_home(parser)
    add_json(parser)
    parser.add_argument("--study", metavar="UID|ACCESSION", help="one study: received, whole, results, deliveries")


def run(asked: Asked) -> int:
    faults = ["--study: a Study Instance UID or an accession number is wanted"] if asked.study == "" else []
    found = settings_of(asked, faults)
    if not is_begun(found.home, found.database):
        nothing = NOTHING | {"disk": _disk(found)}
        print(json.dumps(nothing, indent=2) if asked.json else _overview(nothing))
        return 1
    ledger = ledger_of(asked)
    if asked.study:
        return _study(views.story(ledger, asked.study), asked)
    said = views.status(ledger) | {"disk": _disk(found)}
    alive = running_roles(found.home)
    for each in said["roles"]:
        if each["name"].partition("-")[0] not in alive:
            each["state"] = "stopped"
    print(json.dumps(said, indent=2, ensure_ascii=False) if asked.json else _overview(said))
    return 0


def _disk(settings: Settings) -> dict[str, Any]:
    """The disk of the home, with the reserve that the settings give it."""
    folder = next(each for each in (settings.home, *settings.home.absolute().parents) if each.exists())
    room = Room.on(folder, int(settings.disk_reserve_mb * (1 << 20)))
    return {"free_mb": room.free >> 20, "reserve_mb": room.reserve >> 20, "is_full": room.free <= room.reserve}


def _study(stories: list[dict[str, Any]], asked: Asked) -> int:
    if not stories:
        raise Wrong(f"no study has the Study Instance UID or accession number {asked.study!r}")
    print(json.dumps({"studies": stories}, indent=2, ensure_ascii=False) if asked.json else _stories(stories))
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


def _overview(said: dict[str, Any]) -> str:
    rows = [["", "state", "count"]]
    for kind in ("studies", "jobs", "deliveries"):
        rows += [[kind, state, count] for state, count in said[kind].items()]
    rows += [["instances", "", said["instances"]], ["conflicts", "open", said["conflicts"]]]
    lines = [table(rows), ""]
    full = ": objects are refused" if said["disk"]["is_full"] else ""
    lines += [f"disk: {said['disk']['free_mb']} MiB free, {said['disk']['reserve_mb']} kept free{full}"]
    lines += [f"oldest {what}: {age:g} s" for what, age in said["oldest_s"].items() if age is not None]
    lines += [f"dead: {each['count']} for {each['destination']}: {each['why']}" for each in said["dead_letters"]]
    lines += [f"peer {each['name']}: {each['state']} {each['why']}".rstrip() for each in said["peers"]]
    lines += [
        f"model {each['name']} {each['version']}: {each['state']} {each['why']}".rstrip() for each in said["models"]
    ]
    lines += [f"role {each['name']}: {each['state']} {each['error']}".rstrip() for each in said["roles"]]
    return "\n".join(lines).rstrip()


def _stories(stories: list[dict[str, Any]]) -> str:
    return "\n\n".join(_story(each) for each in stories)


def _story(story: dict[str, Any]) -> str:
    lines = [f"study {story['study_uid']}: {story['state']}"]
    if story["waits_for"]:
        lines.append(f"  waits for: {story['waits_for']}")
    if story["reason"]:
        lines.append(f"  not analysed: {story['reason']}")
    if story["conflicts"]:
        lines.append(f"  open conflicts: {story['conflicts']}; `imaging conflicts list`")
    if story["corrections"]:
        lines.append(f"  corrected copies: {story['corrections']}")
    for each in story["copies"]:
        said = f": {each['judgement']}" if each["judgement"] else ""
        lines.append(f"  kept apart {each['id']}, {each['received_at']}: {each['state']}, {each['why']}{said}")
    for each in story["received"]:
        who = in_words(each["calling_ae_title"], each["address"]) if each["id"] else "an earlier run"
        lines.append(f"  received {each['instances']} instances from {who}, {each['first_at']} to {each['last_at']}")
    for each in story["shared"]:
        lines.append(f"  the UID {each['sop_instance_uid']} also stands for an object of study {each['study_uid']}")
    if story["returned"]:
        lines.append(f"  {len(story['returned'])} of our own reports came back")
    for each in story["revisions"]:
        lines.append(f"  revision {each['number']} whole at {each['settled_at']} by: {each['signal']}")
    for each in story["results"]:
        reason = f": {each['reason']}" if each["reason"] else ""
        lines.append(f"  {each['model']} {each['version']} answer {each['result_number']}: {each['state']}{reason}")
        if each["no_report"]:
            lines.append(f"    no report: {each['no_report']}")
        for finding in each["findings"]:
            lines.append(f"    {finding['meaning']}: present {finding['present']}, {finding['probability']}")
    for each in story["deliveries"]:
        if each["destination"] is None:
            lines.append(f"  {each['kind']}: for nobody")
        else:
            lines.append(f"  {each['kind']} to {each['destination']}: {each['state']} {each['why'] or ''}".rstrip())
    return "\n".join(lines)
