"""Looks again at settled studies that a command asked for: with today's models, a few at a time."""

import logging
from collections.abc import Collection, Sequence
from typing import Final

from imaging.domain.card import Card
from imaging.ledger import replays, settling
from imaging.ledger.replays import Mark
from imaging.ledger.store import Ledger
from imaging.roles.planning import unanswered_jobs

log = logging.getLogger(__name__)

_AT_ONCE: Final = 20
"""Between two looks at what is just coming in."""


class Replaying:
    """Takes up the marks of `imaging replay --model` and `--study`."""

    def __init__(self, ledger: Ledger, cards: Sequence[Card], untrusted_senders: Collection[str]) -> None:
        self._ledger, self._cards, self._untrusted_senders = ledger, cards, untrusted_senders

    def run_once(self) -> bool:
        """Takes up a few marks; whether there may be more to do at once."""
        try:
            marks = replays.marked(self._ledger, _AT_ONCE)
            return all(self._take_up(each) for each in marks) and len(marks) == _AT_ONCE
        except Exception as error:  # a full disk, say: what is marked stays so
            log.exception("studies_not_replayed error=%s", type(error).__name__)
            return False

    def _take_up(self, mark: Mark) -> bool:
        """False where the study has to be looked at once more."""
        cards = [card for card in self._cards if mark.model in ("", card.id)]
        if not cards:
            log.warning("replay_without_model study=%d model=%s", mark.study_id, mark.model)
        try:
            candidate = settling.candidate(self._ledger, mark.study_id)
            jobs = unanswered_jobs(candidate, cards, self._untrusted_senders)
        except Exception as error:  # of this study: the next ones go on
            log.exception("study_not_replayed study=%d error=%s", mark.study_id, type(error).__name__)
            replays.unmark(self._ledger, mark)
            return True
        if not jobs:
            replays.unmark(self._ledger, mark)
            return True
        is_done = replays.settle_again(self._ledger, mark, candidate, jobs)
        if is_done:
            log.info("study_replayed study=%d jobs=%d", mark.study_id, len(jobs))
        return is_done
