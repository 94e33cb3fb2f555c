"""What the worklist shows: a row per study, its one AI state, and the health line above the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from imaging.domain.alarms import Health
from imaging.domain.codes import Code
from imaging.domain.findings import Answer, TriageClass
from imaging.domain.folding import fold
from imaging.domain.header import Header
from imaging.domain.reasons import Reason


class PageState(StrEnum):
    """The eight states of a study on the page: a flag before all, then what is still under way, then the most pressing
    answer. The ledger tells which a study is in (`imaging.ledger.page_state`).
    """

    FLAGGED = "flagged"
    FAILED = "failed"
    NOT_ANALYSED = "not_analysed"
    ANALYSING = "analysing"
    WAITING = "waiting"
    RECEIVING = "receiving"
    IN_PART = "in_part"
    CLEAR = "clear"


@dataclass(frozen=True)
class Row:
    """A study on the worklist. `number` is our own row number, the only name of a study that logs may hold.

    `reason` is the first one for which the study or one model's answer is not findings, whatever the
    state; None where there is none. `band` 0 is an ordered STAT.
    `corrections`: how many of its images came again with newer attributes, or in a form that can be read.
    `is_changed`: images came after the answer that is shown. `search_text`: what a search looks at, by
    `search_text_of`.
    `shared`: how many of its images' UIDs stand for an object of another study as well. `passes`: whether it has each
    word of the filter that was asked with; what is urgent, or on the screen already, is shown without.
    """

    number: int
    study_uid: str
    patient_name: str
    patient_id: str
    issuer: str
    sex: str
    age: str
    modality: str
    body_part: str
    description: str
    accession_number: str
    institution: str
    study_date: str
    received_at: datetime
    due_at: datetime
    band: int
    state: PageState
    reason: Reason | None
    flag: TriageClass | None
    results: tuple[Answer, ...]
    instances: int
    conflicts: int
    is_changed: bool
    search_text: str
    corrections: int = 0
    shared: int = 0
    passes: bool = True


def search_text_of(header: Header) -> str:
    """What a search for a study looks at, folded: the ledger keeps it beside the header."""
    texts = (
        header.patient_name.replace("^", " "),
        header.patient_id,
        header.issuer_of_patient_id,
        header.accession_number,
        header.institution_name,
        header.modality,
        header.body_part_examined,
        header.study_description,
    )
    return fold(" ".join(texts))


@dataclass(frozen=True)
class Word:
    """A word of a filter, folded, and what it may mean in the reader's language.

    A study has it where its search text holds `text`, or where it is in one of the `states`, of one of the `regions`
    (Body Part Examined, in capitals), or has a present finding of one of the `codes` ("SCT:60046008"): those whose
    names in the reader's language hold the word.
    """

    text: str
    states: frozenset[PageState] = frozenset()
    regions: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()

    def names(self, code: Code) -> bool:
        """Whether a finding of that code is meant, by its name in a catalogue or by the card's own."""
        return f"{code.scheme}:{code.value}" in self.codes or self.text in fold(code.meaning)


@dataclass(frozen=True)
class ListingQuery:
    """What a page wants of the list: studies with each of the words, and which `page` of `size` rows.

    `after`: the highest number that the reader's screen knows; later studies are counted as new.
    """

    words: tuple[Word, ...] = ()
    page: int = 1
    size: int = 500
    after: int | None = None


@dataclass(frozen=True)
class Listing:
    """One page of the list.

    `rows`: in their order, all flagged studies that pass the filter, whatever the page, and of the rest this page's.
    A stat flag passes every filter. `pages` of the rest there are. `hidden`: the studies that the filter hides.
    `counts`, `total`: of the whole ledger. `newest`: the highest number that there is. `new`: the numbers of those that
    pass the filter and came after `ListingQuery.after`.
    """

    rows: tuple[Row, ...]
    page: int
    pages: int
    hidden: int
    total: int
    counts: Mapping[PageState, int]
    newest: int
    new: frozenset[int]


class Worklist(Protocol):
    """What the page needs of the ledger."""

    def listing(self, query: ListingQuery) -> Listing:
        """A page of the list, by `imaging.domain.priority.ORDER`, then by their UID."""

    def rows(self, numbers: Sequence[int], words: Sequence[Word] = ()) -> list[Row]:
        """The rows with these numbers of ours, as far as there are such, in any order, asked with these words."""

    def numbered(self, number: int) -> Row | None:
        """The row with our own number, with its reports, or None where there is none."""

    def revision(self) -> object:
        """Differs from the one before once anything that a row or the head shows may have changed."""

    def health(self) -> Health:
        """The roles and the alarms."""
