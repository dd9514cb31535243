/**
 * Detects other processes on the machine: those that have the server's memory open, known tools, and unexpected
 * children.
 *
 * Promise: a process of another unprivileged user with the name of a tool is a `stranger` (L6-10), and so is a process
 *          that merely gives itself a tool's name. A descriptor is identified by inode and mount, not by its path.
 * Limits:  a descriptor of the server's memory is detected only while it is open. A tool can be renamed; the other
 *          detectors detect its effects.
 * Proof:   test/unit/layers/6-all-detectors.test.ts, test/unit/layers/6-known-tools.test.ts
 * @module
 */
import type { Detection, Finding } from '../finding.ts';
import { cleanName, fullVisibility, aboutTarget, worseVisibility } from '../finding.ts';
import type { ProcessState, Snapshot } from '../scan-result.ts';
import { seen } from '../scan-result.ts';
import { claimedTool, nameTool } from '../known-tools.ts';

function about(
  detector: Finding['detector'],
  relation: Finding['relation'],
  process: ProcessState,
  what: string,
): Finding {
  return {
    detector,
    relation,
    pid: process.pid,
    uid: process.uid,
    name: cleanName(process.executable === '' ? process.name : process.executable),
    what,
  };
}

/** The longest time that a process may wait to be read before the visibility is reported as reduced. */
const longestWaitMs = 30_000;

function listSight(snapshot: Snapshot): { seen: Detection['seen']; reason: string } {
  if (!('value' in snapshot.processes)) return { seen: 'unreadable', reason: 'the list of processes cannot be read' };
  if (!snapshot.othersListed)
    return { seen: 'unreadable', reason: '/proc hides the processes of other users (hidepid)' };
  const { processes, oldestMs } = snapshot.overdue;
  if (processes === 0) return fullVisibility;
  return {
    seen: oldestMs > longestWaitMs ? 'unreadable' : 'full',
    reason: `${processes} processes are waiting to be read, the first of them for ${Math.round(oldestMs / 1000)} s`,
  };
}

/** Returns whether the user of a process could inspect the server. */
function able(process: ProcessState, snapshot: Snapshot): boolean {
  return process.privileged || process.uid === 0 || process.uid === snapshot.ownUid;
}

/** Finds processes that have `/proc/PID/mem` of one of the server's processes open. */
export function detectMemory(snapshot: Snapshot): Detection {
  const roles = new Map<number, string>(snapshot.targets.map((state) => [state.target.pid, state.target.role]));
  const findings: Finding[] = [];
  let sight = listSight(snapshot);
  for (const process of seen(snapshot.processes) ?? []) {
    const opened = seen(process.opened);
    // The kernel reports whose memory this is. A process that has it open can read it, even if it has since lost the
    // right to open it.
    for (const pid of opened ?? [])
      findings.push(
        about('memory', 'effect', process, `has the memory of the ${roles.get(pid) ?? 'server'} (pid ${pid}) open`),
      );
    if (
      opened === undefined &&
      'missing' in process.opened &&
      process.opened.missing === 'denied' &&
      able(process, snapshot)
    ) {
      sight = worseVisibility(sight, {
        seen: 'not-available',
        reason: "descriptors of root's processes are hidden from this user; only root can open the server's memory",
      });
    }
  }
  return { detector: 'memory', ...sight, findings };
}

/**
 * Finds debuggers, memory inspectors and traffic analyzers by name, and whether their user could inspect the server.
 */
export function detectTools(snapshot: Snapshot): Detection {
  const findings: Finding[] = [];
  for (const process of seen(snapshot.processes) ?? []) {
    const tool = nameTool(process);
    if (tool !== undefined) {
      findings.push({
        ...about('tools', able(process, snapshot) ? 'able' : 'stranger', process, `is ${tool.title} (${tool.kind})`),
        tool: tool.id,
      });
      continue;
    }
    const claimed = claimedTool(process);
    if (claimed !== undefined)
      findings.push({
        ...about('tools', 'stranger', process, `calls itself ${claimed.title} but runs another program`),
        tool: claimed.id,
      });
  }
  return { detector: 'tools', ...listSight(snapshot), findings };
}

/** Finds children of the roles, which must not have any. The supervisor's own children are declared. */
export function detectChildren(snapshot: Snapshot): Detection {
  const findings: Finding[] = [];
  const roles = new Map(
    snapshot.targets.filter((state) => state.target.role !== 'supervisor').map((state) => [state.target.pid, state]),
  );
  for (const process of seen(snapshot.processes) ?? []) {
    const parent = roles.get(process.parent);
    if (parent !== undefined)
      findings.push(aboutTarget('children', parent, `the ${parent.target.role} has a child (pid ${process.pid})`));
  }
  return { detector: 'children', ...listSight(snapshot), findings };
}
