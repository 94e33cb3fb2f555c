"""Whether an SR may be sent: its bytes read back and held against the answer that it is to give.

`verify` runs every rule, over the whole document. Where a document was filled into a template that has passed it, the
cheap half in `imaging.results.filled` is enough. The public validators know most of the first half of the rules, none
of the second.
"""

from typing import Final

from imaging.results import answer_rules, document_rules
from imaging.results.reading import Reading, Unreadable
from imaging.results.report import Fault, Report
from imaging.results.rules import Rule

RULES: Final[dict[str, Rule]] = document_rules.RULES | answer_rules.RULES


def verify(data: bytes, report: Report) -> list[Fault]:
    """Each rule that the document breaks. Costs about what reading it does: 30 ms for fifteen groups."""
    try:
        reading = Reading(data)
    except Unreadable as why:
        return [Fault("readable", f"pydicom: {why}")]
    return [Fault(name, why) for name, rule in RULES.items() for why in rule(reading, report)]
