"""What speaks DICOM: a bounded reader of headers, the acceptor, and the sender.

Here alone pynetdicom is imported; what is behind `Acceptor` and `Sender` may be replaced without touching the roles.
"""
