/**
 * Claims a uid for one server in the kernel's table of users that own keys. All pid, mount and network namespaces share
 * the table. An entry exists for as long as the process that created the key; a second claim during that time is
 * detected.
 *
 * Trust:  `/proc/key-users` contains only numbers, all written by the kernel.
 * Limits: in a container whose filter refuses keys, uids cannot be claimed. Each user namespace has its own table.
 * Source: keyrings(7), keyctl(2), add_key(2)
 * Proof:  test/attacks/2-users.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';
import { LinuxError } from './ffi.ts';
import { addressOf, callByName } from './syscalls.ts';

const processKeyring = -2;
const operations = { revoke: 3, chown: 4, setPermissions: 5, unlink: 9 } as const;
/** All permissions for the possessor of the key, which is this process, and none for others. */
const possessorOnly = 0x3f000000;

/** Returns the number of keys that a user owns, from the text of `/proc/key-users`. @internal */
export function keysOf(uid: number, text: string): number {
  for (const line of text.split('\n')) {
    const match = /^ *(\d+): +\d+ (\d+)\/\d+ \d+\/\d+ \d+\/\d+$/.exec(line);
    if (match !== null && Number(match[1]) === uid) return Number(match[2]);
  }
  return 0;
}

function read(): string {
  return readFileSync('/proc/key-users', 'latin1');
}

/**
 * Claims a uid for the lifetime of this process; root only.
 * @returns `taken` if another process owns a key as that user, `unavailable` if the kernel refuses keys
 */
export function claimUser(uid: number): 'claimed' | 'taken' | 'unavailable' {
  const bytes = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1');
  try {
    if (keysOf(uid, read()) > 0) return 'taken';
    const [type, name, content] = [bytes('user'), bytes(`kwyre ${uid}`), Buffer.from([1])];
    const key = callByName(
      'add_key',
      addressOf(type),
      addressOf(name),
      addressOf(content),
      content.length,
      processKeyring,
    );
    callByName('keyctl', operations.setPermissions, key, possessorOnly);
    callByName('keyctl', operations.chown, key, uid, -1);
    // Two processes that claim a uid at the same moment both see two keys, and both choose another uid.
    if (keysOf(uid, read()) === 1) return 'claimed';
    callByName('keyctl', operations.unlink, key, processKeyring);
    return 'taken';
  } catch (error) {
    if (error instanceof LinuxError || (error as NodeJS.ErrnoException).code !== undefined) return 'unavailable';
    throw error;
  }
}

const PRIO_USER = 2;
const ESRCH = 3;

/** Returns whether any process in this pid namespace runs as that user; the kernel itself does the search. */
export function hasProcesses(uid: number): boolean {
  try {
    callByName('getpriority', PRIO_USER, uid);
    return true;
  } catch (error) {
    if (error instanceof LinuxError) return error.errno !== ESRCH;
    throw error;
  }
}
