"""The resources of the operator: their models, conditions, reasons and CRDs.

Belongs here: the fields that users write and read. Imports none of the other packages.
"""
