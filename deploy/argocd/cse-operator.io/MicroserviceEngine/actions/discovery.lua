-- The actions that have an effect now.
local actions = {}
local suspended = obj.spec ~= nil and obj.spec.suspend == true
actions["suspend"] = {disabled = suspended, iconClass = "fa fa-pause"}
actions["resume"] = {disabled = not suspended, iconClass = "fa fa-play"}

-- The reasons that a retry unlocks. Any other stalled engine needs another fix.
local unlocked = {
  UpgradeRejected = true,
  UpgradeFailed = true,
  UpgradeTimedOut = true,
  VersionMismatch = true,
  OutcomeUncertain = true,
  RetryRequired = true,
  VersionNotComparable = true,
}

local function retry_helps(status, reason)
  if reason == "PermissionDenied" then
    return status.result == "Rejected" -- the upgrade call, and not a look
  end
  if reason == "EngineUnusable" then
    return status.engine ~= nil and status.engine.status == "UpgradeFailed"
  end
  return unlocked[reason] == true
end

-- Approve is offered while a policy waits for it, even if something else holds the engine too.
local approve = false
if obj.status ~= nil and obj.status.held ~= nil then
  for _, held in ipairs(obj.status.held) do
    if held.reason == "ApprovalRequired" then
      approve = true
    end
  end
end
actions["approve"] = {disabled = not approve, iconClass = "fa fa-check"}

local retry = false
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Stalled" and condition.status == "True" then
      retry = retry_helps(obj.status, condition.reason)
    end
  end
end
actions["retry"] = {disabled = not retry, iconClass = "fa fa-redo"}
actions["refresh"] = {disabled = false, iconClass = "fa fa-sync"}
return actions
