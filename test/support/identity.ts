/**
 * As whom processes run in tests: roles under an id that no account has when root runs the tests, else as who runs
 * them.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

/** No account has it. */
export const testUid = 61_234;

/** The part of the jail's input that changes the user; nothing for an ordinary user. */
export function transientIdentity(uid: number): { readonly uid?: number; readonly gid?: number } {
  return uid === 0 ? { uid: testUid, gid: testUid } : {};
}

/** The arguments that run a command as another user; only root may. */
export function asUser(uid: number, command: readonly string[]): string[] {
  return ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', ...command];
}

/**
 * A command as an ordinary user: as `uid` when root runs the tests, else as who runs them. Without a `uid`: the command
 * itself.
 */
export function asOrdinary(uid: number | undefined, command: readonly string[]): readonly string[] {
  return uid === undefined || process.getuid?.() !== 0 ? command : asUser(uid, command);
}

/** Runs a program of Node's as another user; what it prints. */
export function runAs(uid: number, program: string, ...args: string[]): string {
  const [file = '', ...rest] = asUser(uid, [process.execPath, '-e', program, ...args]);
  const ran = spawnSync(file, rest, { encoding: 'utf8', env: {} });
  assert.equal(ran.stderr, '');
  return ran.stdout.trim();
}
