-- Start nothing new; a running job is still followed.
obj.spec.suspend = true
return obj
