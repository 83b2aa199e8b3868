-- The health of a MicroserviceEngine, read from its status. A wait that a person chose, or that ends by
-- itself, is Suspended or Progressing, and never Degraded: in a sync wave Degraded fails the whole sync.
local health = {status = "Progressing", message = "waiting for cse-operator to look at it"}

local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
if status.observedGeneration ~= obj.metadata.generation then
  health.message = "waiting for cse-operator to see the latest change"
  return health
end

for _, condition in ipairs(status.conditions) do
  if condition.type == "Stalled" and condition.status == "True" then
    return {status = "Degraded", message = condition.message}
  end
end
-- An upgrade without a recorded end still runs, even while the operator cannot look at it.
local under_way = status.upgrade ~= nil and status.upgrade.result == nil
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then
    health.message = condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    elseif status.phase == "Waiting" and not under_way and condition.reason ~= "WaitingToCall" then
      health.status = "Suspended"
    end
  end
end
return health
