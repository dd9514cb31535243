/**
 * Detects debuggers by their effects: a thread that is traced or stopped, or a process without its jail.
 *
 * Promise: neither the name of the debugger (L6-01) nor the thread that it attached to (L6-05) matters.
 * Limits:  an inspection that begins and ends between two scans is not detected (L6-03), nor is reading
 *          `/proc/PID/mem`, which sets no tracer (L6-02). User ids and `PR_SET_DUMPABLE 0` prevent both.
 * Source:  ptrace(2), proc_pid_status(5), cgroups(7)
 * Proof:   test/unit/layers/6-all-detectors.test.ts, test/attacks/6-debugger.test.ts
 * @module
 */
import type { Detection, Finding } from '../finding.ts';
import { cleanName, fullVisibility, aboutTarget, worseVisibility } from '../finding.ts';
import type { ProcessState, Snapshot } from '../scan-result.ts';
import { seen } from '../scan-result.ts';

/** Returns another process of the machine by its pid. */
function find(snapshot: Snapshot, pid: number): ProcessState | undefined {
  return seen(snapshot.processes)?.find((process) => process.pid === pid);
}

/** Returns how much is visible. Every user may read a process's `status`, so a failure to read it is a fault. */
function statusSight(snapshot: Snapshot): { seen: Detection['seen']; reason: string } {
  let sight = fullVisibility;
  for (const state of snapshot.targets) {
    for (const part of [state.status, state.threads]) {
      if ('missing' in part && part.missing !== 'gone')
        sight = worseVisibility(sight, {
          seen: 'unreadable',
          reason: `the state of the ${state.target.role} cannot be read`,
        });
    }
  }
  return sight;
}

/** Finds tracers of any thread. */
export function detectTracer(snapshot: Snapshot): Detection {
  const findings: Finding[] = [];
  for (const state of snapshot.targets) {
    const tracers = new Set((seen(state.threads) ?? []).map((thread) => thread.tracer).filter((pid) => pid !== 0));
    for (const pid of tracers) {
      const tracer = find(snapshot, pid);
      findings.push({
        detector: 'tracer',
        relation: 'effect',
        pid,
        uid: tracer?.uid ?? -1,
        name: cleanName(tracer?.executable === '' || tracer === undefined ? (tracer?.name ?? '?') : tracer.executable),
        what: `traces the ${state.target.role} (pid ${state.target.pid})`,
      });
    }
  }
  return { detector: 'tracer', ...statusSight(snapshot), findings };
}

/** Finds threads that are stopped by a signal, a tracer or a frozen cgroup. */
export function detectStopped(snapshot: Snapshot): Detection {
  const findings: Finding[] = [];
  for (const state of snapshot.targets) {
    const stopped = (seen(state.threads) ?? []).filter((thread) => thread.state === 'T' || thread.state === 't').length;
    if (stopped > 0)
      findings.push(aboutTarget('stopped', state, `${stopped} threads of the ${state.target.role} are stopped`));
    if (seen(state.frozen) === true)
      findings.push(aboutTarget('stopped', state, `the cgroup of the ${state.target.role} is frozen`));
  }
  return { detector: 'stopped', ...statusSight(snapshot), findings };
}

/** Finds roles that are running without their filter. */
export function detectJail(snapshot: Snapshot): Detection {
  const findings: Finding[] = [];
  for (const state of snapshot.targets) {
    const status = seen(state.status);
    if (status === undefined || !state.target.sealed || status.state === 'Z' || status.state === 'X') continue;
    if (status.seccomp !== 2 || !status.noNewPrivs)
      findings.push(
        aboutTarget('jail', state, `the ${state.target.role} runs without its seccomp filter or no_new_privs`),
      );
  }
  return { detector: 'jail', ...statusSight(snapshot), findings };
}
