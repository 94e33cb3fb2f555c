"""One module per process: node (receive, settle), worker (analyse, report), deliver, web.

A role is a loop that joins the parts; here alone they meet.
"""
