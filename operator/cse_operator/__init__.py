"""cse-operator: keeps Huawei Cloud CSE engines at the version declared in Git."""

__version__ = "0.1.0"
