"""Workers as the ledger knows them: that they live, what they serve, and the leases that they keep by saying so.

A lease lasts `LEASE_S` and is renewed at each beat, however long the job or its wait may be. One that runs out was
held by a worker that was silent for several beats: its host is gone, or it stands still. The job is returned then, and
that counts as a death, so that a job which takes its host with it does not go round for ever.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import delete, insert, select, update

from imaging.domain.states import JOB, JobEvent, JobState
from imaging.ledger import tables, wakeups
from imaging.ledger.store import Ledger

LEASE_S: Final = 60.0
BEAT_S: Final = 15.0
"""How often a worker that holds a lease renews it."""
GONE_S: Final = 300.0
"""Silence after which nobody waits for what a worker alone can do: a machine that starts again is back by then."""

Silent = frozenset[tuple[int, float]]
"""Leases that have run out: each job's number, and the tick at which its lease ended."""

_RETURNED: Final = JOB[JobState.LEASED, JobEvent.LEASE_ENDED]


def expect(ledger: Ledger, names: Collection[str]) -> None:
    """To be called before these workers are started: nobody answers in their place until they say what they serve.

    What they served before holds until then.
    """
    with ledger.write() as connection:
        table, tick = tables.worker, ledger.clock.tick()
        connection.execute(delete(table).where(table.c.beat_tick < tick - GONE_S))
        known = set(connection.scalars(select(table.c.name).where(table.c.name.in_(names))))
        connection.execute(update(table).where(table.c.name.in_(known)).values(beat_tick=tick))
        for name in sorted({*names} - known):
            connection.execute(insert(table).values(name=name, beat_tick=tick, serves=None))


def serve(ledger: Ledger, name: str, models: Collection[str]) -> None:
    """A worker is ready, with these models."""
    table = tables.worker
    values = {"serves": sorted(models), "beat_tick": ledger.clock.tick()}
    with ledger.write() as connection:
        if not connection.execute(update(table).where(table.c.name == name).values(values)).rowcount:
            connection.execute(insert(table).values(name=name, **values))


def beat(ledger: Ledger, name: str, owner: str, held: Collection[int] = ()) -> None:
    """A worker lives: it keeps the jobs that it holds, which it has leased as `owner`, for another `LEASE_S`.

    What the ledger says is leased to it, and it knows nothing of, as after a commit of which it never heard, runs out.
    """
    job, table, tick = tables.job, tables.worker, ledger.clock.tick()
    its = job.c.id.in_(held) & (job.c.state == JobState.LEASED) & (job.c.lease == owner)
    with ledger.write() as connection:
        connection.execute(update(table).where(table.c.name == name).values(beat_tick=tick))
        if held:
            connection.execute(update(job).where(its).values(lease_tick=tick + LEASE_S))


def silent(ledger: Ledger) -> Silent:
    """The leases that have run out."""
    job = tables.job
    query = select(job.c.id, job.c.lease_tick).where(
        job.c.state == JobState.LEASED, job.c.lease_tick < ledger.clock.tick()
    )
    with ledger.read() as connection:
        return frozenset((each.id, each.lease_tick) for each in connection.execute(query))


def return_silent(ledger: Ledger, which: Silent) -> int:
    """Returns jobs whose leases ran out, and were not renewed since; their holders count as dead."""
    job, returned = tables.job, 0
    with ledger.write() as connection:
        for number, lease_tick in sorted(which):
            ran_out = (job.c.id == number) & (job.c.state == JobState.LEASED) & (job.c.lease_tick == lease_tick)
            death = {"state": _RETURNED, "attempts": job.c.attempts + 1, "lease": "", "lease_tick": None}
            returned += connection.execute(update(job).where(ran_out).values(death)).rowcount
    if returned:
        ledger.wakeups.notify(wakeups.JOB, wakeups.STUDY)
    return returned


def release_jobs(ledger: Ledger, owner: str, numbers: Collection[int]) -> int:
    """Returns jobs whose answers a living worker could not write down; nobody died."""
    job = tables.job
    its = job.c.id.in_(numbers) & (job.c.state == JobState.LEASED) & (job.c.lease == owner)
    with ledger.write() as connection:
        values = {"state": _RETURNED, "lease": "", "lease_tick": None}
        returned = connection.execute(update(job).where(its).values(values)).rowcount
    ledger.wakeups.notify(wakeups.JOB, wakeups.STUDY)
    return returned


def served(ledger: Ledger, besides: str = "") -> frozenset[str] | None:
    """The models that live workers serve, `besides` one of them; None where one has not said yet what it serves."""
    table = tables.worker
    lives = (table.c.beat_tick >= ledger.clock.tick() - GONE_S) & (table.c.name != besides)
    with ledger.read() as connection:
        served_models = list(connection.scalars(select(table.c.serves).where(lives)))
    if any(each is None for each in served_models):
        return None
    return frozenset(model for each in served_models for model in each)


def unserved(ledger: Ledger) -> frozenset[str]:
    """The models that queued jobs ask for and no live worker serves; none while a worker is still starting."""
    known = served(ledger)
    if known is None:
        return frozenset()
    job = tables.job
    with ledger.read() as connection:
        wanted = connection.scalars(select(job.c.model).where(job.c.state == JobState.QUEUED).distinct())
        return frozenset(wanted) - known
