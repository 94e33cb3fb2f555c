"""What takes long to find takes no more than a tenth of the time, however often the ledger changes."""

from imaging.ledger.spared import CHEAP_S, SHARE, Spared


class Finding:
    """Something that takes so many seconds to find, of a ledger that changes."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s, self.now, self.revision, self.spent = takes_s, 0.0, 0, 0.0
        self.spared = Spared(self.find, lambda: self.revision, lambda: self.spent, lambda: self.now)

    def find(self) -> int:
        self.now += self.takes_s
        self.spent += self.takes_s
        return self.revision


def test_what_is_cheap_is_always_of_the_present_revision() -> None:
    finding = Finding(CHEAP_S / 2)
    for finding.revision in range(50):
        assert finding.spared.value() == finding.revision
        assert not finding.spared.is_due()


def test_what_is_dear_takes_its_share_and_is_never_older_than_that_makes_it() -> None:
    finding = Finding(0.5)
    began = finding.now
    for finding.revision in range(1000):
        finding.now += 0.1
        assert finding.spared.value() >= finding.revision - round(0.5 / SHARE / 0.1)
    assert finding.spent <= SHARE * (finding.now - began) + 0.5


def test_once_it_may_be_found_anew_it_says_so_until_it_is() -> None:
    finding = Finding(0.5)
    assert finding.spared.value() == 0
    finding.revision = 1
    assert finding.spared.value() == 0
    assert not finding.spared.is_due()
    finding.now += 0.5 / SHARE
    assert finding.spared.is_due()
    assert finding.spared.value() == 1
    assert not finding.spared.is_due()


def test_without_a_change_nothing_is_found_again() -> None:
    finding = Finding(0.5)
    finding.spared.value()
    finding.now += 1000
    assert not finding.spared.is_due()
    finding.spared.value()
    assert finding.spent == 0.5
