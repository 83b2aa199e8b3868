-- Lets upgrades of this engine start again.
obj.spec.suspend = false
return obj
