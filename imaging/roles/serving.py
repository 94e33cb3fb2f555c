"""Which models a worker serves: weights copied and loaded, golden cases run, and what is said of those that fail.

Networks run in the confined process, which is ended where one of them hangs: its model is disabled then, and the others
are loaded in a new process.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from imaging.confined.analyser import ConfinedAnalyser
from imaging.domain.card import UNPROVEN, Card, Lane
from imaging.domain.faults import PublicError, fingerprint
from imaging.domain.languages import Language
from imaging.domain.modes import Mode
from imaging.ledger import registry, workers
from imaging.ledger.store import Ledger
from imaging.models.cautions import warnings
from imaging.roles.analysis import rehearse, rehearse_report
from imaging.roles.child import LOOK_S
from imaging.roles.worker_config import Begun

log = logging.getLogger(__name__)


class Serving:
    """The models of one worker, by the name that its leases begin with. `analysers`: those that it serves, warm.

    `is_warm`: all have been tried.
    """

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        begun: Begun,
        site_words: Sequence[str],
        language: Language,
    ) -> None:
        self._ledger, self._name, self._language = ledger, name, language
        self._confined, self._site_words = begun.confined, site_words
        self._setups, self._outdated = dict(begun.setups), begun.outdated
        self.catalogue, self.copies = begun.catalogue, begun.copies
        self.analysers: dict[str, ConfinedAnalyser] = {}
        self.is_warm = False
        self._unserved, self._looked = frozenset[str](), -LOOK_S

    def warm(self) -> None:
        """Copies and loads all weights, and says which models are served.

        A model whose golden case does not hold here is disabled, visibly.
        """
        every, disabled = self.catalogue.models, self.catalogue.disabled
        registry.keep_models(self._ledger, [*(card.id for card in every), *disabled])
        elsewhere = workers.served(self._ledger, besides=self._name) or frozenset()
        for name, why in disabled.items():
            self._disable(name, "", why, elsewhere)
        for model in self._outdated:
            why = "the card, its weights, a library or the processor changed since: run `imaging models tune`"
            log.warning("tuning_not_used model=%s why=%s", model, why)
        self.copies.begin(every)
        for card in every:
            self._admit(card, elsewhere)
        self.is_warm = True
        for card in self.served():
            if card.lane is Lane.FILMS:
                self._rehearse(rehearse_report, card)
        workers.serve(self._ledger, self._name, self.analysers)

    def log_confinement(self) -> None:
        """Into the log, as a warning where the process that runs networks may do more than it need."""
        confinement = self._confined.confinement
        log.log(logging.INFO if confinement.is_complete else logging.WARNING, "confined how=%r", confinement.words)

    def _admit(self, card: Card, elsewhere: Collection[str]) -> None:
        for each in warnings(card):
            log.warning("model_doubtful model=%s why=%s", card.id, each)
        why, proof = self._why_not(card)
        self._confined.restart_if_ended()
        if why and card.id in self._setups:
            log.warning("tuning_not_used model=%s setup=%r why=%s", card.id, str(self._setups.pop(card.id)), why)
            why, proof = self._why_not(card)
            self._confined.restart_if_ended()
        if why:
            log.error("model_disabled model=%s why=%s", card.id, why)
            self._disable(card.id, card.version, why, elsewhere, is_synthetic=card.is_synthetic, mode=card.mode)
            return
        unproven = UNPROVEN if card.golden is None else ""
        registry.note_model(
            self._ledger, card.id, card.version, proof, unproven, is_synthetic=card.is_synthetic, mode=card.mode
        )

    def _disable(
        self,
        model: str,
        version: str,
        why: str,
        elsewhere: Collection[str],
        *,
        is_synthetic: bool = False,
        mode: Mode = Mode.LIVE,
    ) -> None:
        """What another worker serves is served, whatever is wrong here."""
        is_served = model in elsewhere
        message = f"not by {self._name.rstrip('/')}: {why}" if is_served else why
        registry.note_model(
            self._ledger, model, version, "", message, is_served=is_served, is_synthetic=is_synthetic, mode=mode
        )

    def _why_not(self, card: Card) -> tuple[str, str]:
        """Why a model cannot be served, empty where it can, and its analyser is warm; and what proves it."""
        try:
            kept, setup = self.copies.kept(card), self._setups.get(card.id)
            analyser = ConfinedAnalyser(self._confined, kept, self._site_words, setup)
            proof = analyser.proof()
            has_passed = card.golden is not None and registry.has_passed(self._ledger, card.id, proof)
            analyser.warm(is_proven=has_passed)
        except Exception as error:  # noqa: BLE001 (one model: the others are served)
            return str(error) if isinstance(
                error, PublicError
            ) else f"its engine cannot be loaded: {fingerprint(error)}", ""
        if card.golden is not None and not has_passed:
            faults = analyser.golden_faults()
            self._confined.restart_if_ended()
            if faults:
                analyser.close()
                return "; ".join(faults), ""
        self.analysers[card.id] = analyser
        return "", proof

    def served(self) -> list[Card]:
        """The cards of the models that this worker serves."""
        return [card for card in self.catalogue.models if card.id in self.analysers]

    def wanted(self, lane: Lane) -> frozenset[str]:
        """The models of whose jobs a lane takes: those served here, and with the films also those that nobody serves.

        Such a job is answered with that; which they are is looked up every few seconds.
        """
        ours = frozenset(card.id for card in self.served() if card.lane is lane)
        return ours | self._unserved_models() if lane is Lane.FILMS else ours

    def _unserved_models(self) -> frozenset[str]:
        if time.monotonic() - self._looked >= LOOK_S:
            self._unserved = workers.unserved(self._ledger)
            self._looked = time.monotonic()
        return self._unserved

    def batches(self) -> Mapping[str, int]:
        """How many jobs of a model are taken together."""
        films = [card for card in self.catalogue.models if card.lane is Lane.FILMS]
        at_once = {model: each.batch for model, each in self._setups.items()}
        return {card.id: max(card.engine.batch, at_once.get(card.id, 1)) for card in films}

    def reads_once(self, card: Card | None) -> bool:
        """Whether no other model reads what this one has read. New pages for each film cost 5 ms of its CPU."""
        return card is not None and sum(each.lane is card.lane for each in self.served()) == 1

    def rehearse(self) -> None:
        """Takes each golden case through analysis and report once, so that the first study waits for neither."""
        for card in self.served():
            if card.golden is not None:
                self._rehearse(rehearse, card)

    def _rehearse(self, play: Callable[[Card, ConfinedAnalyser, Language], None], card: Card) -> None:
        try:
            play(card, self.analysers[card.id], self._language)
        except Exception as error:
            log.exception("rehearsal_failed model=%s error=%s", card.id, type(error).__name__)
        self._confined.restart_if_ended()
