/**
 * In whose network the roles are, and what that network reaches; pure (L2-15: a container with the network of its host,
 * WSL2 that mirrors the one of Windows).
 *
 * Promise: says the interfaces by name. From inside, nobody can tell a container's host network from a machine's own:
 *          what counts is what is there.
 * Proof:   test/unit/layers/2-network-context.test.ts, test/attacks/2-requests.test.ts
 * @module
 */
import type { Check } from '../../base/verdict.ts';

/** The interfaces of a table `net/dev`. */
export function interfacesOf(devices: string): string[] {
  return [...devices.matchAll(/^ *([^ :]+):/gm)].map(([, name = '']) => name);
}

/** Whether a table of interfaces has no other than loopback. */
export function onlyLoopback(devices: string): boolean {
  const names = interfacesOf(devices);
  return names.length === 1 && names[0] === 'lo';
}

/**
 * WSL2 has this interface when it mirrors the network of Windows, whose programs then reach its loopback, and it
 * theirs.
 */
const mirrored = 'loopback0';

/**
 * What is reported of the machine's network: the one that the supervisor is in, by its table and the kernel's release.
 */
export function networkCheck(devices: string, release: string, apart: boolean, at: number): Check {
  const id = 'network.shared';
  const names = interfacesOf(devices)
    .filter((name) => name !== 'lo')
    .map((name) => name.replace(/[^\w.@-]/g, '?'));
  const wsl = !/microsoft/i.test(release)
    ? ''
    : names.includes(mirrored)
      ? '; WSL2 mirrors the network of Windows: programs of both sides share its loopback'
      : '; WSL2 forwards the loopback of Windows to this one';
  if (devices === '') return { id, status: 'off', evidence: 'the table of interfaces cannot be read', at };
  if (names.length === 0)
    return { id, status: 'enforced', evidence: `the server's network has nothing but a loopback${wsl}`, at };
  const there = `the network of the server has ${names.join(', ')}${wsl}`;
  if (apart)
    return { id, status: 'enforced', evidence: `${there}; gateway and engine are in empty networks of their own`, at };
  return {
    id,
    status: 'off',
    evidence: `${there}; gateway and engine are in it, and the filter is what holds them`,
    at,
  };
}
