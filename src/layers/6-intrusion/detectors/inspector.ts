/**
 * Detects Node's inspector in one of the server's processes: open, or one signal away from being opened.
 *
 * Promise: in each of these processes, a listening socket other than the declared one is found, and so is a handler for
 *          SIGUSR1 (L6-06).
 * Limits:  listening sockets are found through descriptors. Where descriptors are hidden from this user, only the
 *          handler is checked; the confined roles cannot create a socket at all.
 * Source:  https://nodejs.org/api/cli.html#--disable-sigusr1
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import { listening } from '../../../linux/procfs/net-tables.ts';
import type { Detection, Finding } from '../finding.ts';
import { fullVisibility, aboutTarget, worseVisibility } from '../finding.ts';
import type { Snapshot } from '../scan-result.ts';
import { seen } from '../scan-result.ts';
import { socketsHeldBy } from './undeclared-sockets.ts';

const sigusr1 = 1n << 9n;

/** Finds inspectors that are open or that a signal can open. */
export function detectInspector(snapshot: Snapshot): Detection {
  const findings: Finding[] = [];
  let sight = fullVisibility;
  const rows = seen(snapshot.rows) ?? [];
  for (const state of snapshot.targets) {
    const status = seen(state.status);
    if (status !== undefined && (status.caughtSignals & sigusr1) !== 0n)
      findings.push(
        aboutTarget(
          'inspector',
          state,
          `the ${state.target.role} has a handler for SIGUSR1, which opens Node's inspector`,
        ),
      );
    const held = socketsHeldBy(state);
    if (held === undefined) {
      sight = worseVisibility(sight, {
        seen: 'not-available',
        reason: "the server's descriptors are hidden from this user; only the SIGUSR1 handler was checked",
      });
      continue;
    }
    if (held.selfReported)
      sight = worseVisibility(sight, { seen: 'self-reported', reason: 'descriptors as reported by the roles' });
    for (const row of [...rows, ...state.namespaceRows]) {
      if (
        row.state !== listening ||
        row.table === 'unix' ||
        row.inode === snapshot.watched.listener ||
        !held.inodes.has(row.inode)
      )
        continue;
      findings.push(
        aboutTarget(
          'inspector',
          state,
          `the ${state.target.role} listens on another socket (${row.table}), as an inspector does`,
        ),
      );
    }
  }
  if (!('value' in snapshot.rows) || !snapshot.tablesRead)
    sight = worseVisibility(sight, { seen: 'unreadable', reason: 'the socket tables cannot be read' });
  return { detector: 'inspector', ...sight, findings };
}
