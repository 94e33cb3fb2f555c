"""The worklist in a browser: the list, one study's answers, and what keeps an open page true.

Doors: `create_app` with `WebSettings` (app), `EventSource` (events), `serve` (serving).
What stands on a page is decided by pure functions (view) in a reader's language (languages, catalogues/*.toml).
"""
