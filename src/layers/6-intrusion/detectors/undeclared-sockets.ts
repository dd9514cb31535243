/**
 * Detects undeclared sockets of the server's processes, of every family and in every state (L6-12).
 *
 * The declared sockets are those that a process was started with, and for the gateway also the connections that its
 * listener accepted. The listener must still be listening, because an inherited listener can be turned into a
 * connection.
 *
 * Limits:  an ordinary user may not read the descriptors of these non-dumpable processes. In that case the detector
 *          reports that it cannot see them, and protection comes from the seccomp filter, which allows no new sockets.
 * Source:  proc_pid_net(5)
 * Proof:   test/unit/layers/6-all-detectors.test.ts, test/attacks/6-watchdog.test.ts
 * @module
 */
import { closed, listening, loopbackHex } from '../../../linux/procfs/net-tables.ts';
import type { SocketRow } from '../../../linux/procfs/net-tables.ts';
import type { Detection, Finding } from '../finding.ts';
import { fullVisibility, aboutTarget, worseVisibility } from '../finding.ts';
import type { Snapshot, TargetState, Watched } from '../scan-result.ts';
import { seen } from '../scan-result.ts';

/** Returns the sockets that a process holds, from its descriptors or its report; `undefined` if neither is known. */
export function socketsHeldBy(
  state: TargetState,
): { readonly inodes: ReadonlySet<number>; readonly selfReported: boolean } | undefined {
  const inodes = seen(state.sockets);
  if (inodes !== undefined) return { inodes: new Set(inodes), selfReported: false };
  if ('missing' in state.sockets && state.sockets.missing === 'gone') return { inodes: new Set(), selfReported: false };
  return state.target.reported === undefined
    ? undefined
    : { inodes: new Set(state.target.reported), selfReported: true };
}

/**
 * Matches an address in 127.0.0.0/8, whose first byte comes last in the kernel's hexadecimal form. The gateway itself
 * decides which peers it answers.
 */
const loopbackPeer = /^[0-9A-F]{6}7F:/;

/**
 * Returns a row for a TCP socket that no table lists. Such a socket neither listens nor is connected, so it carries no
 * data. If a client resets its connection, the gateway holds such a socket until it next writes to it.
 */
export function deadConnection(inode: number): SocketRow {
  return { table: 'tcp', inode, uid: 0, state: closed, local: '', remote: '', protocol: 0, interface: 0 };
}

/** Returns whether a socket is a connection that the server's listener accepted, or what is left of one. */
export function isServedConnection(row: SocketRow, watched: Watched): boolean {
  if (row.table === 'tcp' && row.state === closed && row.local === '') return true;
  if (row.table === 'tcp')
    return row.local === loopbackHex(watched.port) && row.state !== listening && loopbackPeer.test(row.remote);
  return row.table === 'unix' && watched.unixPath !== '' && row.local === watched.unixPath;
}

/** NETLINK_SOCK_DIAG. */
const sockDiag = 4;

/** Returns whether a declared socket is still what it was declared to be. */
function unchanged(row: SocketRow, watched: Watched): boolean {
  if (row.table === 'unix') return true;
  if (row.table === 'netlink') return row.protocol === sockDiag;
  return (
    row.inode === watched.listener &&
    row.table === 'tcp' &&
    row.state === listening &&
    row.local === loopbackHex(watched.port)
  );
}

/** Finds sockets that were not declared. */
export function detectSockets(snapshot: Snapshot): Detection {
  const { watched } = snapshot;
  const findings: Finding[] = [];
  let sight = fullVisibility;
  const rows = seen(snapshot.rows);
  const readable = rows !== undefined && snapshot.tablesRead;
  if (!readable) sight = worseVisibility(sight, { seen: 'unreadable', reason: 'the socket tables cannot be read' });
  const byInode = new Map((rows ?? []).map((row) => [row.inode, row]));
  for (const state of snapshot.targets) {
    const { role } = state.target;
    if (state.target.namespace === 'own') {
      const own = seen(state.namespaceSockets);
      if (own === undefined) {
        if ('missing' in state.namespaceSockets && state.namespaceSockets.missing !== 'gone')
          sight = worseVisibility(sight, {
            seen: 'unreadable',
            reason: `the number of sockets of the ${role} cannot be read`,
          });
      } else if (own > 0) {
        const tables = [...new Set(state.namespaceRows.map((row) => row.table))].join(', ');
        findings.push(
          aboutTarget(
            'sockets',
            state,
            `the ${role} has ${own} sockets in its empty network (${tables === '' ? 'of no table' : tables})`,
          ),
        );
      }
    }
    const held = socketsHeldBy(state);
    if (held === undefined) {
      if (state.target.namespace === 'shared')
        sight = worseVisibility(sight, {
          seen: 'not-available',
          reason: "the server's descriptors are hidden from this user; its seccomp filters forbid new sockets",
        });
      continue;
    }
    if (held.selfReported)
      sight = worseVisibility(sight, { seen: 'self-reported', reason: 'descriptors as reported by the roles' });
    const declared = new Set(state.target.sockets);
    for (const inode of held.inodes) {
      const row = byInode.get(inode);
      if (declared.has(inode)) {
        if (row !== undefined && !unchanged(row, watched))
          findings.push(
            aboutTarget(
              'sockets',
              state,
              `a declared socket of the ${role} has changed (${row.table}, state ${row.state})`,
            ),
          );
      } else if (row === undefined) {
        // If the kernel cannot be asked, the socket may be a connection to the Unix listener.
        if (role === 'gateway' && watched.unixPath !== '' && !snapshot.unixKnown)
          sight = worseVisibility(sight, {
            seen: 'unreadable',
            reason: 'the kernel cannot be asked about Unix sockets',
          });
        else if (readable)
          findings.push(aboutTarget('sockets', state, `the ${role} has a socket that no kernel table lists`));
      } else if (role !== 'gateway' || !isServedConnection(row, watched)) {
        findings.push(
          aboutTarget('sockets', state, `the ${role} has an undeclared ${row.table} socket (state ${row.state})`),
        );
      }
    }
  }
  return { detector: 'sockets', ...sight, findings };
}
