"""Findings become DICOM objects: pure builders, and the verifier that reads their bytes back.

The door for structured reports is `write_sr(report)` in `imaging.results.sr`: a whole, verified Part 10 file, or an
error that says whose trouble it is (`CannotReport`: the input's; `UnsoundReport`: ours).
"""
