module cse-operator.io/tests/k9s

go 1.26.0

// For the schema of its plug-ins among its files; nothing is built.
require github.com/derailed/k9s v0.50.16
