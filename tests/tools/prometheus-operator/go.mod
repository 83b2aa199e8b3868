module cse-operator.io/tests/prometheus-operator

go 1.26.0

// For the CRDs among its files; nothing is built.
require github.com/prometheus-operator/prometheus-operator v0.85.0
