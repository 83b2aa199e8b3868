-- Have the engine looked at now.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["cse-operator.io/reconcile-requested-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
