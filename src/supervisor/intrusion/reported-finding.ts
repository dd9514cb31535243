/**
 * The watchdog's findings, with process names that the supervisor looked up itself.
 *
 * The watchdog parses text that other users wrote, and root's watchdog can read memory, so a name that it reports could
 * carry text of a conversation to the log. The supervisor therefore reads the name and user of each process itself, and
 * describes a finding with a sentence from a fixed list.
 *
 * Trust: a process chooses its own name, which is reduced to at most 64 characters of printable ASCII.
 * Proof: test/unit/supervisor/reported-finding.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import { readFileSync, readlinkSync } from 'node:fs';
import type { Detection, Finding } from '../../layers/6-intrusion/finding.ts';
import { cleanName } from '../../layers/6-intrusion/finding.ts';
import { listedText } from '../../layers/6-intrusion/finding-texts.ts';
import { tools } from '../../layers/6-intrusion/known-tools.ts';
import { statusField } from '../../linux/procfs/task-status.ts';

type Identity = { readonly uid: number; readonly name: string };

/**
 * Returns the user and name of a process, or `undefined` when it has ended. The name is that of its executable if this
 * user may read it, and otherwise the name that the process gave itself.
 */
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
    // The executable is hidden from this user, or the process is a kernel thread.
  }
  return { uid: uid === undefined ? -1 : Number(uid), name: cleanName(name) };
}

const toolIds: ReadonlySet<string> = new Set(tools.map(({ id }) => id));
const unknown: Identity = { uid: -1, name: '?' };

/**
 * Replaces the names and descriptions that the watchdog reported.
 * @param roles - the role of each of the server's processes, by pid
 */
export function verifyFindings(
  detections: readonly Detection[],
  roles: ReadonlyMap<number, string>,
  look: (pid: number) => Identity | undefined,
): Detection[] {
  const known = new Map<number, Identity>();
  const identityOf = (pid: number): Identity => {
    const found = known.get(pid) ?? (pid === 0 ? unknown : (look(pid) ?? unknown));
    known.set(pid, found);
    const role = roles.get(pid);
    return role === undefined ? found : { uid: found.uid, name: `kwyre ${role}` };
  };
  return detections.map((detection) => ({
    ...detection,
    findings: detection.findings.map(({ detector, relation, pid, what, tool }): Finding => ({
      detector,
      relation,
      pid,
      ...identityOf(pid),
      what: listedText(what),
      ...(tool !== undefined && toolIds.has(tool) ? { tool } : {}),
    })),
  }));
}
