"""The decision core: pure values and functions, with the time as an argument.

Belongs here: versions, failures by meaning, what was observed, and what to do about it.
Does not belong here: anything that waits, calls, reads a clock or a file.
"""
