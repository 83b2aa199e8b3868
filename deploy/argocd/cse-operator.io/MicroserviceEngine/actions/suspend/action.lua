-- Starts no new upgrade. The operator still follows a running job.
obj.spec.suspend = true
return obj
