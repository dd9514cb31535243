/**
 * Findings as the supervisor takes them from the watchdog: a process by its id, everything else by the supervisor's own
 * look.
 *
 * The watchdog parses what strangers wrote, and root's may look into memory: its words for a name would be a way for a
 * conversation to the log. So the name of an executable and its user are read here, and what was seen is said in words
 * of a list.
 *
 * Trust:   names are strangers' text: printable ASCII, 64 at most.
 * Proof:   test/unit/supervisor/reported-finding.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import { statusField } from '../../linux/procfs/task-status.ts';
import { readFileSync, readlinkSync } from 'node:fs';
import type { Detection, Finding } from '../../layers/6-intrusion/finding.ts';
import { cleanName } from '../../layers/6-intrusion/finding.ts';
import { tools } from '../../layers/6-intrusion/known-tools.ts';
import { listedText } from '../../layers/6-intrusion/finding-texts.ts';

/** Who a process is; `undefined` when it is gone. */
export type Identity = { readonly uid: number; readonly name: string };

/** Looks at a process; its executable by the kernel's link where we may read it, else the name that it has itself. */
export function identify(pid: number): Identity | undefined {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return undefined;
  }
  const uid = /^\d+/.exec(statusField(status, 'Uid'))?.[0];
  let name = statusField(status, 'Name') || '?';
  try {
    name = readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '');
  } catch {
    // Hidden from this user, or a thread of the kernel.
  }
  return { uid: uid === undefined ? -1 : Number(uid), name: cleanName(name) };
}

const toolIds: ReadonlySet<string> = new Set(tools.map(({ id }) => id));
const unknown: Identity = { uid: -1, name: '?' };

/** Findings of the watchdog with our own names; `ours` says which role a process of ours is. */
export function verifyFindings(
  detections: readonly Detection[],
  ours: ReadonlyMap<number, string>,
  look: (pid: number) => Identity | undefined,
): Detection[] {
  const known = new Map<number, Identity>();
  const who = (pid: number): Identity => {
    const found = known.get(pid) ?? (pid === 0 ? unknown : (look(pid) ?? unknown));
    known.set(pid, found);
    const role = ours.get(pid);
    return role === undefined ? found : { uid: found.uid, name: `kwyre ${role}` };
  };
  return detections.map((detection) => ({
    ...detection,
    findings: detection.findings.map(({ detector, relation, pid, what, tool }): Finding => ({
      detector,
      relation,
      pid,
      ...who(pid),
      what: listedText(what),
      ...(tool !== undefined && toolIds.has(tool) ? { tool } : {}),
    })),
  }));
}
