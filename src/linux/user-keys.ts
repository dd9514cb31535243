/**
 * The kernel's register of users that own keys: one for all pid, mount and network namespaces, and each entry ends with
 * the process that made it. So an id is claimed here, and whoever claims it as well is seen.
 *
 * Trust:  `/proc/key-users` holds numbers only, all of them the kernel's.
 * Limits: a container whose filter refuses keys has no register; user namespaces have registers of their own.
 * Source: keyrings(7), keyctl(2), add_key(2)
 * Proof:  test/attacks/2-users.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';
import { LinuxError } from './ffi.ts';
import { addressOf, callByName } from './syscalls.ts';

const processKeyring = -2;
const operations = { revoke: 3, chown: 4, setPermissions: 5, unlink: 9 } as const;
/** Whoever possesses it, this process, may do all with it; nobody else anything. */
const possessorOnly = 0x3f000000;

/** How many keys a user owns, by the text of `/proc/key-users`; 0 for one that is not in it. */
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
 * Claims a user for the life of this process; root only.
 * @returns `taken` when somebody else owns a key as that user, `unavailable` where there is no register.
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
    // Two that claimed in the same moment both see two, and both choose again.
    if (keysOf(uid, read()) === 1) return 'claimed';
    callByName('keyctl', operations.unlink, key, processKeyring);
    return 'taken';
  } catch (error) {
    if (error instanceof LinuxError || (error as NodeJS.ErrnoException).code !== undefined) return 'unavailable';
    throw error;
  }
}

const ofUser = 2;
const ESRCH = 3;

/** Whether any process that can be seen from here runs as that user: the kernel itself looks for one. */
export function hasProcesses(uid: number): boolean {
  try {
    callByName('getpriority', ofUser, uid);
    return true;
  } catch (error) {
    if (error instanceof LinuxError) return error.errno !== ESRCH;
    throw error;
  }
}
