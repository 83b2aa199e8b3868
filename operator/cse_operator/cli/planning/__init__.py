"""`cse-operator plan`: what happens to each engine when these manifests are applied."""
