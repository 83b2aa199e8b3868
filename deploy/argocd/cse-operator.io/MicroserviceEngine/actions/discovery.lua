-- Which actions make sense now.
local actions = {}
local suspended = obj.spec ~= nil and obj.spec.suspend == true
actions["suspend"] = {disabled = suspended, iconClass = "fa fa-pause"}
actions["resume"] = {disabled = not suspended, iconClass = "fa fa-play"}

local stalled = false
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Stalled" and condition.status == "True" then
      stalled = true
    end
  end
end
actions["retry"] = {disabled = not stalled, iconClass = "fa fa-redo"}
actions["refresh"] = {disabled = false, iconClass = "fa fa-sync"}
return actions
