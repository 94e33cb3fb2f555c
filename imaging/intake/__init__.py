"""What takes an object in, whichever door it came by: bytes and row are on disk before it is acknowledged."""
