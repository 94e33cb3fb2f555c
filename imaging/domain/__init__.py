"""Values and decisions: states, completeness, fitting, priority, retry, findings.

Pure: no input, no output, no clock of its own; time and settings come in as arguments.
What two neighbouring packages share stands here, so that they need not know each other.
"""
