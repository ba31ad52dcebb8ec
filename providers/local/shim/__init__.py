"""The shim: a small detached process that runs one command and remembers how it ended.

It uses the standard library only, so that it is small. It belongs to no worker: it leaves its
parent, runs the command of `plan.json`, keeps its output in a bounded log, watches its limits and
writes `status.json`. Hazards that the order of its steps takes care of:

- The lock of the lease is inherited and held until `status.json` names this process, so no other
  committer can start a second one; a shim that dies before that has run nothing.
- The plan holds secrets in clear: it is removed as soon as the status is on disk.
- Orphans of the job come back here (subreaper), so killing "all children until there are none"
  misses nobody. If the shim itself is killed, the kernel kills the command (and its sandbox).
"""
