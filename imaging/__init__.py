"""Triage of medical images: receive by C-STORE, analyse, report by DICOM SR, order a worklist.

Not a medical device: every output says so.
"""

__version__ = "0.1.0"
