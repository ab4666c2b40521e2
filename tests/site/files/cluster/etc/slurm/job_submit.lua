-- A site without accounting still limits how many jobs one user may have.
local MAX_JOBS = 150
local DONE = 3 -- JOB_COMPLETE: this state and later ones have ended
local ESLURM_ACCOUNTING_POLICY = 2050

local function jobs_of(user)
   local count = 0
   for _, job in pairs(slurm.jobs) do
      if job.user_id == user and job.job_state % 256 < DONE then
         count = count + 1
      end
   end
   return count
end

function slurm_job_submit(job, partitions, user)
   if user ~= 0 and jobs_of(user) >= MAX_JOBS then
      slurm.log_user("you have %d jobs already, no more are accepted", MAX_JOBS)
      return ESLURM_ACCOUNTING_POLICY
   end
   return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, user)
   return slurm.SUCCESS
end

return slurm.SUCCESS
