"""Pictures that no patient made: drawn studies whose truth is known, for demonstrations and tests.

A phantom is a function of a seed and a set of findings, and the same arguments give the same pixels. `study`
alone knows DICOM: it wraps drawings as the studies that a modality would send. Drawings are crude on purpose: a
figure measured on them says that the pipeline works, and nothing about patients.
"""
