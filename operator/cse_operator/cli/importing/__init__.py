"""`cse-operator import`: from the engines of a project to manifests that start nothing."""
