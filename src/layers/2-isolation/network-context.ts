/**
 * The network that the server runs in, judged by its interfaces (L2-15: containers with host networking, WSL2 with
 * mirrored networking). Pure.
 *
 * Promise: reports the interfaces by name. From inside, a container with host networking looks the same as a machine,
 *          so the verdict depends on the interfaces.
 * Proof:   test/unit/layers/2-network-context.test.ts, test/attacks/2-requests.test.ts
 * @module
 */
import type { Check } from '../../base/verdict.ts';

/** Returns the interfaces listed in a `net/dev` table. @internal */
export function interfacesOf(devices: string): string[] {
  return [...devices.matchAll(/^ *([^ :]+):/gm)].map(([, name = '']) => name);
}

/** Returns whether loopback is the only interface in a `net/dev` table. */
export function onlyLoopback(devices: string): boolean {
  const names = interfacesOf(devices);
  return names.length === 1 && names[0] === 'lo';
}

/** The interface that WSL2 has in mirrored mode, in which Windows and Linux share their loopback. */
const mirrored = 'loopback0';

/**
 * Returns the status check for the supervisor's network.
 * @param devices - text of `net/dev`
 * @param release - kernel release
 * @param apart - whether gateway and engine each have their own network namespace
 * @param at - time of the check
 */
export function networkCheck(devices: string, release: string, apart: boolean, at: number): Check {
  const id = 'network.shared';
  const names = interfacesOf(devices)
    .filter((name) => name !== 'lo')
    .map((name) => name.replace(/[^\w.@-]/g, '?'));
  const wsl = !/microsoft/i.test(release)
    ? ''
    : names.includes(mirrored)
      ? '; WSL2 mirrors the network of Windows, so Windows programs share this loopback'
      : '; WSL2 forwards the loopback of Windows to this one';
  if (devices === '') return { id, status: 'off', evidence: 'cannot read the network interfaces', at };
  if (names.length === 0)
    return { id, status: 'enforced', evidence: `the network of the server has no interface but loopback${wsl}`, at };
  const there = `the network of the server has ${names.join(', ')}${wsl}`;
  if (apart)
    return { id, status: 'enforced', evidence: `${there}; gateway and engine are in empty network namespaces`, at };
  return { id, status: 'off', evidence: `${there}; gateway and engine share it, and seccomp blocks their access`, at };
}
