"""Findings become DICOM objects: pure builders, and the verifiers that read their bytes back.

The door is `build(report)` in `imaging.results.registry`: all objects that answer, whole and verified, or an error that
says whose trouble it is (`CannotReport`: the input's; `UnsoundReport`: ours). Each kind of object has a module, and a
line in the registry.
"""
