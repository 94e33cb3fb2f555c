"""Try again what ended without an answer: dead deliveries, and studies that failed or were not analysed.

To be said once the cause is mended. A study that is analysed again gets its model's next answer, which names the one
before it.

  imaging replay                          every dead delivery
  imaging replay --to PACS                those for one destination
  imaging replay --study UID|ACCESSION    one study's failed and not analysed work
  imaging replay --failed                 all work that failed
"""

import json

from imaging.cli.asking import Asked, Parser, Wrong, add_home, add_json, ledger_of
from imaging.ledger import deliveries, jobs, views


def options(parser: Parser) -> None:
    parser.add_argument("--to", metavar="NAME", action="append", help="dead deliveries of this destination only")
    parser.add_argument("--study", metavar="UID|ACCESSION", help="one study's failed and not analysed work")
    parser.add_argument("--failed", action="store_true", help="all work that failed")
    add_home(parser)
    add_json(parser)


def run(asked: Asked) -> int:
    chosen = [
        name for name, value in (("--to", asked.to), ("--study", asked.study), ("--failed", asked.failed)) if value
    ]
    faults = [f"{' and '.join(chosen)}: one of them is wanted"] if len(chosen) > 1 else []
    ledger = ledger_of(asked, faults)
    sent = worked = 0
    if asked.study:
        stories = views.story(ledger, asked.study)
        if not stories:
            raise Wrong(f"no study has the Study Instance UID or accession number {asked.study!r}")
        uids = [each["study_uid"] for each in stories]
        worked = jobs.replay(ledger, uids)
    elif asked.failed:
        worked = jobs.replay(ledger)
    else:
        known = deliveries.peers(ledger)
        if unknown := [each for each in asked.to or () if each not in known]:
            raise Wrong(f"no destination is called {', '.join(unknown)}; there are: {', '.join(known) or 'none'}")
        sent = deliveries.replay(ledger, asked.to or ())
    said = {"deliveries": sent, "jobs": worked}
    print(json.dumps(said) if asked.json else f"{sent} deliveries and {worked} jobs are tried again")
    return 0
