-- Makes the operator look at the engine now.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["cse-operator.io/reconcile-requested-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
