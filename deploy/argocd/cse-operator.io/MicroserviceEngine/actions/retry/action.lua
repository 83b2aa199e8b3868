-- Unlocks a failed or refused upgrade once.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["cse-operator.io/retry-requested-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
