"""Cards: reading them from their folders, checking them, and the catalogue of those that can be served.

A card is data only. Reading one imports no engine and loads no weights beyond their digest.
"""
