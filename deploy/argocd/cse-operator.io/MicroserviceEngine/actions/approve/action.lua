-- Approves the version that is declared now. Another version needs another approval.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["cse-operator.io/approved-version"] = obj.spec.version
return obj
