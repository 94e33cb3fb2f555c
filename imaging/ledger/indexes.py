"""The tables' indexes, and `metadata`, which has both: for those who compare a database with them.

They stand apart since a partial index loads the dialect of each database that it is for, which no role needs at work.
"""

from sqlalchemy import Index

from imaging.ledger.tables import (
    association,
    conflict,
    delivery,
    in_order,
    instance,
    job,
    metadata,
    returned,
    study,
)

__all__ = ["metadata"]

_OPEN = association.c.ended_at.is_(None)
Index("ix_association_open", association.c.id, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index("ix_association_sender", association.c.calling_ae_title, association.c.address, association.c.id)
_FLAGGED = study.c.flag.is_not(None)
Index("ix_study_flagged", study.c.id, sqlite_where=_FLAGGED, postgresql_where=_FLAGGED)
Index("ix_study_worklist", *in_order(study), study.c.study_instance_uid)
Index("ix_study_settle_tick", study.c.settle_tick)
Index("ix_instance_association", instance.c.association_id, instance.c.study_id)
Index("ix_conflict_state", conflict.c.state, conflict.c.study_id)
Index("ix_returned_study_instance_uid", returned.c.study_instance_uid)
Index("ix_job_queue", job.c.state, *in_order(job), job.c.id)
Index("ix_delivery_study", delivery.c.study_id, delivery.c.destination, delivery.c.state, delivery.c.id)
Index("ix_delivery_outbox", delivery.c.destination, delivery.c.state, delivery.c.due_tick, delivery.c.id)
