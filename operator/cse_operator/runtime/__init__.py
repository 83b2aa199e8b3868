"""The wiring of the parts: settings, queue, reconcile step, kopf's handlers, probes.

Belongs here: order and wiring. Handlers are one line each; decisions are in `core`.
"""
