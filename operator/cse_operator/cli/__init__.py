"""The command line: `cse-operator run`, `check`, `crd`, `demo`."""
