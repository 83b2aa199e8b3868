"""The command line: `cse-operator run`, `check`, `plan`, `import`, `versions`, `crd`."""
