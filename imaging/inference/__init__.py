"""From a model's instances on disk to its findings.

The door is `imaging.inference.analyser`: pixels, films and volumes, preparation, engines and the reading of their
outputs are behind it. What the input lacks is raised as `NotAnalysable`; nothing here opens a socket or a ledger.
"""
