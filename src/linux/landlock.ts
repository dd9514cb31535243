/**
 * Landlock: which paths this process may touch, and no TCP port, no signal and no abstract socket outside its domain, each
 * as far as the kernel has it.
 *
 * Promise: after `restrictSelf` and execve, no thread opens a path outside the plan. What a kernel does not have is never
 *          asked of it and never counted as held: the parts are a table, and `partsOf` the only judge.
 * Limits:  binds the calling thread only, so it must be followed by execve; not UDP, not Multipath TCP, not descriptors
 *          that are open already (seccomp and the network namespace answer those).
 * Source:  https://docs.kernel.org/userspace-api/landlock.html
 * Proof:   test/attacks/2-jail.test.ts, test/unit/layers/2-landlock.test.ts
 * @module
 */
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { checked, LinuxError } from './ffi.ts';
import { addressOf, systemCall } from './process.ts';

const calls = { create: 444, addRule: 445, restrict: 446 } as const;

/** Rights on files, by the bit of the kernel's header. */
const fileRights = { execute: 1n << 0n, readFile: 1n << 2n, readDirectory: 1n << 3n } as const;

/** A part of Landlock: the first ABI that has it, the Linux of that ABI, and its bits in the kernel's header. */
export type LandlockPart = { readonly abi: number; readonly linux: string; readonly files: bigint; readonly network: bigint; readonly scopes: bigint };

/**
 * What there is, pinned: a newer kernel is used as the last one known here. Moving a file between folders needs no bit
 * (`REFER`): every ruleset of every ABI refuses it unless it is allowed.
 */
export const landlockParts = {
  files: { abi: 1, linux: '5.13', files: (1n << 13n) - 1n, network: 0n, scopes: 0n },
  truncating: { abi: 3, linux: '6.2', files: 1n << 14n, network: 0n, scopes: 0n },
  ports: { abi: 4, linux: '6.7', files: 0n, network: 3n, scopes: 0n },
  devices: { abi: 5, linux: '6.10', files: 1n << 15n, network: 0n, scopes: 0n },
  scopes: { abi: 6, linux: '6.12', files: 0n, network: 0n, scopes: 3n },
} as const satisfies Readonly<Record<string, LandlockPart>>;
export type LandlockPartName = keyof typeof landlockParts;

/** The parts that a kernel's ABI has; pure. */
export function partsOf(abi: number): LandlockPartName[] {
  return (Object.keys(landlockParts) as LandlockPartName[]).filter((name) => landlockParts[name].abi <= abi);
}

/** What a process may still reach. */
export type PathPlan = { readonly read: readonly string[]; readonly execute: readonly string[] };

/** The ABI of this kernel, 0 when there is no Landlock. */
export function landlockAbi(): number {
  try {
    return systemCall('landlock_create_ruleset', calls.create, 0, 0, 1);
  } catch (error) {
    if (error instanceof LinuxError) return 0;
    throw error;
  }
}

/**
 * Restricts the calling thread for good, in these parts; paths that do not exist are left out. Needs no_new_privs.
 * @throws LinuxError
 */
export function restrictSelf(plan: PathPlan, parts: readonly LandlockPartName[]): void {
  const bits = (kind: 'files' | 'network' | 'scopes') => parts.reduce((sum, name) => sum | landlockParts[name][kind], 0n);
  const attributes = new BigUint64Array([bits('files'), bits('network'), bits('scopes')]);
  const size = attributes[2] !== 0n ? 24 : attributes[1] !== 0n ? 16 : 8;
  const ruleset = systemCall('landlock_create_ruleset', calls.create, addressOf(attributes), size, 0);
  const add = (path: string, execute: boolean) => {
    let fd: number;
    try {
      fd = openSync(path, 0o10000000 /* O_PATH */ | constants.O_RDONLY);
    } catch {
      return;
    }
    const rights = fileRights.readFile | (execute ? fileRights.execute : 0n) | (statSync(path).isDirectory() ? fileRights.readDirectory : 0n);
    const rule = Buffer.allocUnsafeSlow(16).fill(0);
    rule.writeBigUInt64LE(rights, 0);
    rule.writeInt32LE(fd, 8);
    try {
      systemCall('landlock_add_rule', calls.addRule, ruleset, 1, addressOf(rule), 0);
    } finally {
      closeSync(fd);
    }
  };
  if (parts.includes('files')) {
    for (const path of plan.read) add(path, false);
    for (const path of plan.execute) add(path, true);
  }
  checked('landlock_restrict_self', systemCall('landlock_restrict_self', calls.restrict, ruleset, 0));
  closeSync(ruleset);
}
