"""`cse-operator plan`: forecasts what happens to each engine when manifests are applied."""
