"""Which models a worker serves: weights copied and loaded, golden cases run, and what is said of those that fail."""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from imaging.domain.card import UNPROVEN, Card
from imaging.domain.faults import Told, fingerprint
from imaging.inference import golden
from imaging.inference.analyser import Analyser
from imaging.ledger import views, workers
from imaging.ledger.store import Ledger
from imaging.models.catalogue import Catalogue
from imaging.models.cautions import warnings
from imaging.models.copies import Copies
from imaging.results.report import Language
from imaging.roles.analysis import rehearse, rehearse_report
from imaging.roles.child import LOOK_S
from imaging.roles.hung import Hung
from imaging.roles.watch import Watch

log = logging.getLogger(__name__)

REHEARSAL_S: Final = 120.0
LOADING_S: Final = 300.0
"""For copying and loading weights and one run of nothing, by an engine that has been idle."""
GOLDEN_S: Final = 10.0
"""What a golden case may take, beside what its card allows a study: it is the first."""


class Serving:
    """The models of one worker. `analysers`: those that it serves, warm."""

    def __init__(
        self,
        ledger: Ledger,
        home: Path,
        name: str,
        catalogue: Catalogue,
        threads: int,
        language: Language,
        watch: Watch,
    ) -> None:
        self._ledger, self._name, self._threads, self._language = ledger, name, threads, language
        self.catalogue, self.copies = catalogue, Copies(home / "models")
        self.analysers: dict[str, Analyser] = {}
        self._watch, self._hung = watch, Hung(home / "run", name)
        self._unserved, self._looked = frozenset[str](), -LOOK_S

    def warm(self) -> None:
        """Copies and loads all weights, and says which models are served.

        A model whose golden case does not hold here is disabled, visibly.
        """
        every, disabled = self.catalogue.models, self.catalogue.disabled
        views.keep_models(self._ledger, [*(card.id for card in every), *disabled])
        for name, why in disabled.items():
            views.note_model(self._ledger, name, "", "", why, is_served=False)
        self.copies.begin(every)
        for card in every:
            self._admit(card)
        for card in self.served():
            if not card.is_volume:
                self._rehearse(rehearse_report, card)
        workers.serve(self._ledger, self._name, self.analysers)

    def _admit(self, card: Card) -> None:
        for each in warnings(card):
            log.warning("model_doubtful model=%s why=%s", card.id, each)
        proof = golden.proof(card)
        why = self._why_not(card, proof)
        if why:
            log.error("model_disabled model=%s why=%s", card.id, why)
        # What another worker serves is served, whatever is wrong here.
        is_elsewhere = bool(why) and card.id in (workers.served(self._ledger, besides=self._name) or ())
        views.note_model(
            self._ledger,
            card.id,
            card.version,
            "" if why else proof,
            (f"not by {self._name}: {why}" if is_elsewhere else why) or (UNPROVEN if card.golden is None else ""),
            is_served=not why or is_elsewhere,
            is_synthetic=card.is_synthetic,
        )

    def _why_not(self, card: Card, proof: str) -> str:
        """Why a model cannot be served; empty where it can, and its analyser is warm."""
        if why := self._hung.why_not(card):
            return why
        late = partial(self._hung.note, card)
        try:
            with self._watch.over([], LOADING_S, late):
                analyser = Analyser(self.copies.kept(card), self._threads)
                analyser.warm()
        except Exception as error:  # noqa: BLE001 (one model: the others are served)
            return str(error) if isinstance(error, Told) else f"its engine cannot be loaded: {fingerprint(error)}"
        if card.golden is not None and not views.has_passed(self._ledger, card.id, proof):
            with self._watch.over([], card.engine.seconds + GOLDEN_S, late):
                faults = golden.checked(analyser).faults
            if faults:
                analyser.close()
                return "; ".join(faults)
        self.analysers[card.id] = analyser
        return ""

    def served(self) -> list[Card]:
        """The cards of the models that this worker serves."""
        return [card for card in self.catalogue.models if card.id in self.analysers]

    def wanted(self, *, are_volumes: bool) -> frozenset[str]:
        """The models of whose jobs a lane takes: those served here, and with the films also those that nobody serves.

        Such a job is answered with that; which they are is looked up every few seconds.
        """
        ours = frozenset(card.id for card in self.served() if card.is_volume == are_volumes)
        return ours if are_volumes else ours | self._nobodys()

    def _nobodys(self) -> frozenset[str]:
        if time.monotonic() - self._looked >= LOOK_S:
            self._unserved = workers.unserved(self._ledger)
            self._looked = time.monotonic()
        return self._unserved

    def batches(self) -> Mapping[str, int]:
        """How many jobs of a model are taken together."""
        return {card.id: card.engine.batch for card in self.catalogue.models if not card.is_volume}

    def reads_once(self, card: Card | None) -> bool:
        """Whether no other model reads what this one has read. New pages for each film cost 5 ms of its CPU."""
        return card is not None and sum(each.is_volume == card.is_volume for each in self.served()) == 1

    def rehearse(self) -> None:
        """Takes each golden case through analysis and report once, so that the first study waits for neither."""
        for card in self.served():
            if card.golden is not None:
                self._rehearse(rehearse, card)

    def _rehearse(self, play: Callable[[Card, Analyser, Language], None], card: Card) -> None:
        try:
            with self._watch.over([], REHEARSAL_S, partial(self._hung.note, card)):
                play(card, self.analysers[card.id], self._language)
        except Exception as error:
            log.exception("rehearsal_failed model=%s error=%s", card.id, type(error).__name__)
