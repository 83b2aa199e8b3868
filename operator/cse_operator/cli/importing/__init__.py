"""`cse-operator import`: writes manifests of a project's engines that start nothing."""
