"""One process that decodes pixels and runs networks, and nothing else: no network, ledger, sockets or spool.

`client` is its parent's side, `process` its own. `limits` says what it may not do (docs/security.md).
"""
