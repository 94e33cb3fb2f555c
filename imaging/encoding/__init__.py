"""DICOM as bytes: a bounded reader of elements, the header facts that everybody works with, and Part 10 files."""
