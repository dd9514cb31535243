/**
 * Landlock: restricts this process to a set of paths, and denies it TCP ports, and signals and abstract-socket
 * connections to processes outside its domain.
 *
 * Promise: after `restrictSelf` and execve, no thread opens a path outside the plan.
 * Limits:  it restricts only the calling thread, so execve must follow. It does not cover UDP, Multipath TCP or
 *          descriptors that are already open; seccomp and the network namespace do.
 * Source:  https://docs.kernel.org/userspace-api/landlock.html
 * Proof:   test/attacks/2-jail.test.ts
 * @module
 */
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { checked, LinuxError } from './ffi.ts';
import { addressOf, callByName } from './syscalls.ts';

/** Access rights on files, as bits from the uapi header. */
const fileRights = { execute: 1n << 0n, readFile: 1n << 2n, readDirectory: 1n << 3n } as const;

/**
 * The access rights that a ruleset handles, as bits from the uapi header; the ABI version determines which of them a
 * kernel supports.
 */
export type Handled = { readonly files: bigint; readonly network: bigint; readonly scopes: bigint };

/** The paths to which a process keeps access. */
export type PathPlan = { readonly read: readonly string[]; readonly execute: readonly string[] };

/** Returns this kernel's Landlock ABI version; 0 without Landlock. */
export function landlockAbi(): number {
  try {
    return callByName('landlock_create_ruleset', 0, 0, 1);
  } catch (error) {
    if (error instanceof LinuxError) return 0;
    throw error;
  }
}

/**
 * Restricts the calling thread irrevocably; paths that do not exist are skipped. Needs no_new_privs.
 * @throws LinuxError
 */
export function restrictSelf(plan: PathPlan, { files, network, scopes }: Handled): void {
  const attributes = new BigUint64Array([files, network, scopes]);
  const size = scopes !== 0n ? 24 : network !== 0n ? 16 : 8;
  const ruleset = callByName('landlock_create_ruleset', addressOf(attributes), size, 0);
  const add = (path: string, execute: boolean) => {
    let fd: number;
    try {
      fd = openSync(path, 0o10000000 /* O_PATH */ | constants.O_RDONLY);
    } catch {
      return;
    }
    const rights =
      fileRights.readFile |
      (execute ? fileRights.execute : 0n) |
      (statSync(path).isDirectory() ? fileRights.readDirectory : 0n);
    const rule = Buffer.allocUnsafeSlow(16).fill(0);
    rule.writeBigUInt64LE(rights, 0);
    rule.writeInt32LE(fd, 8);
    try {
      callByName('landlock_add_rule', ruleset, 1, addressOf(rule), 0);
    } finally {
      closeSync(fd);
    }
  };
  if (files !== 0n) {
    for (const path of plan.read) add(path, false);
    for (const path of plan.execute) add(path, true);
  }
  checked('landlock_restrict_self', callByName('landlock_restrict_self', ruleset, 0));
  closeSync(ruleset);
}
