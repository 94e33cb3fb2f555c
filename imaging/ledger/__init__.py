"""The only place where state lives: tables, guarded transitions, queries and wake-ups.

SQLAlchemy Core; SQLite for one machine, PostgreSQL by the same code. Every state changes in one UPDATE that names the
state it expects (`imaging.domain.states`); zero rows changed means that somebody else was quicker or that this process
was fenced, and its work is dropped.
"""
