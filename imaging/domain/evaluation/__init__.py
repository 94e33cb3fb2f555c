"""How good a model is on studies whose truth is known: pure statistics, from scores and labels to figures.

Truth is 1 (the finding is there) or 0. A score is higher the more probable the finding is. Intervals are of 95 %.
"""
