"""What the node costs and how fast it is, beside peers and the limit."""
