/**
 * The record of `kwyre isolate install`: a file, owned by root, that lists everything the installation made.
 *
 * Trust:   the caller reads the file and verifies that only root can write it.
 * Proof:   test/unit/layers/2-install-steps.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */
import { KwyreError } from '../../../base/errors.ts';
import type { Command, Firewall } from './firewall.ts';

export const recordFolder = '/etc/kwyre';
export const recordPath = `${recordFolder}/isolation.json`;
/** The folders of the program, its state, and the access files of the user who installed it. */
export const places = { program: '/opt/kwyre', state: '/var/lib/kwyre', access: '/var/lib/kwyre-access' } as const;

/** One installation. */
export type Installed = {
  readonly version: 1;
  /** False until the last step is done. */
  readonly complete: boolean;
  readonly uid: number;
  readonly gid: number;
  readonly port: number;
  readonly firewall: Firewall;
  /** The user who installed the server and may use it. */
  readonly person: { readonly uid: number; readonly gid: number };
  /** Whether the installation copied the program; false if the program was already in place. */
  readonly copied: boolean;
  /** The rules as listed after loading. */
  readonly witness: readonly { readonly command: Command; readonly shown: string }[];
};

/** Returns the folder of a user's access files: token, header line, server address. */
export function accessFolder(uid: number): string {
  return `${places.access}/${uid}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
}

const isPath = (value: unknown): value is string => typeof value === 'string' && /^\/[A-Za-z0-9_./-]+$/.test(value);

function isFirewall(value: unknown): value is Firewall {
  if (!isRecord(value)) return false;
  if (value['kind'] === 'nft') return isPath(value['nft']);
  return (
    value['kind'] === 'iptables' &&
    ['iptables', 'restore', 'ip6tables', 'restore6'].every((name) => isPath(value[name]))
  );
}

const isCommand = (value: unknown): value is Command =>
  isRecord(value) && Array.isArray(value['argv']) && value['argv'].every((word) => typeof word === 'string');

/** Parses the record. @throws `L2_ISOLATE_RECORD` */
export function parseInstalled(text: string): Installed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const maxId = 0x7fffffff;
  if (
    isRecord(value) &&
    value['version'] === 1 &&
    typeof value['complete'] === 'boolean' &&
    typeof value['copied'] === 'boolean' &&
    isCount(value['uid'], 1, maxId) &&
    isCount(value['gid'], 1, maxId) &&
    isCount(value['port'], 1, 65535) &&
    isFirewall(value['firewall']) &&
    isRecord(value['person']) &&
    isCount(value['person']['uid'], 0, maxId) &&
    isCount(value['person']['gid'], 0, maxId) &&
    Array.isArray(value['witness']) &&
    value['witness'].every(
      (entry) => isRecord(entry) && isCommand(entry['command']) && typeof entry['shown'] === 'string',
    )
  )
    return value as Installed;
  throw new KwyreError(
    'L2_ISOLATE_RECORD',
    `${recordPath} is damaged, so the installation cannot be identified`,
    'restore it from a backup, or remove by hand what ./kwyre isolate plan lists',
  );
}

export function formatInstalled(installed: Installed): string {
  return `${JSON.stringify(installed, undefined, 2)}\n`;
}
