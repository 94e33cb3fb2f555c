"""What speaks DIMSE: the acceptor and the sender, and the upper layer below both."""
