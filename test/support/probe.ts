/**
 * Probes for tests: in a role's real jail, started by root or by an ordinary user.
 * @module
 */
import type { JailInput } from '../../src/layers/2-isolation/jail/confine.ts';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { nodeFlags } from '../../src/policy/node-flags.ts';
import type { ProbeTargets } from '../../src/layers/2-isolation/probe/probe-request.ts';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import type { ProbeScope, ProbeOutcome, ProbePrograms } from '../../src/layers/2-isolation/probe/probe-runner.ts';
import { probePrograms, runProbe } from '../../src/layers/2-isolation/probe/probe-runner.ts';
import { closedPort, machineAddress } from '../../src/linux/procfs/unused-address.ts';
import { transientIdentity } from './identity.ts';
import { root } from './server.ts';
import { stripped, strippedRoot } from './stripped.ts';

/** Users that start a server: root where the tests may, and an ordinary one. */
export const starters: readonly { readonly who: string; readonly uid: number | undefined }[] =
  process.getuid?.() === 0
    ? [
        { who: 'root', uid: undefined },
        { who: 'an ordinary user', uid: 61_235 },
      ]
    : [{ who: 'an ordinary user', uid: undefined }];

const table = (name: string): string => {
  try {
    return readFileSync(`/proc/self/net/${name}`, 'latin1');
  } catch {
    return '';
  }
};

/** The programs of this copy of the sources, run by a user. */
export function programsFor(uid: number | undefined): ProbePrograms {
  const plain = probePrograms(stripped('src'), stripped('src/probe/main.ts'), process.execPath, nodeFlags);
  return uid === undefined
    ? plain
    : {
        ...plain,
        node: '/usr/bin/setpriv',
        flags: [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', process.execPath, ...nodeFlags],
      };
}

export function jailFor(uid: number | undefined): JailInput {
  return {
    readable: [strippedRoot(), join(root, 'node_modules'), join(root, 'package.json')],
    accepted: [],
    ...transientIdentity(uid ?? process.getuid?.() ?? -1),
  };
}

/** A service of loopback for the probe to reach, and a closed port. */
export async function aimAt(): Promise<{
  readonly aim: ProbeTargets;
  readonly service: Server;
  readonly reached: () => number;
}> {
  let count = 0;
  const service = createServer((socket) => {
    count += 1;
    socket.destroy();
  }).listen(0, '127.0.0.1');
  await once(service, 'listening');
  service.unref();
  return {
    aim: {
      machine: machineAddress(table('fib_trie')),
      closedPort: closedPort([table('tcp'), table('tcp6'), table('udp')]),
      servedPort: (service.address() as AddressInfo).port,
    },
    service,
    reached: () => count,
  };
}

/** One probe with any features left out. */
export async function probe(
  uid: number | undefined,
  role: ProbeScope['role'],
  aim: ProbeTargets,
  attempts: readonly string[],
  without: readonly string[] = [],
  deadly = false,
): Promise<ProbeOutcome> {
  return await runProbe(programsFor(uid), role, jailFor(uid), { attempts, without, deadly, ...aim });
}
