"""Why there is no working with a database. Apart from the door to it, so that who only tells this loads no database."""


class Unusable(Exception):
    """The database cannot be used: a wrong URL, nobody who answers, no ledger; the text says which."""


class SchemaDiffers(Unusable):
    """The database has another schema than this version; the supervisor or `imaging migrate` brings it up."""
