/**
 * Where the seal of an installation lies: its two manifests in `seal/`, the trust file beside them or in `/etc/kwyre`.
 *
 * When `/etc/kwyre/seal.json` names this installation it alone counts: removing `seal/` then refuses the start.
 * Elsewhere the state folder remembers number, key and root digest of the last seal that it saw, so that a seal which
 * is gone, older or somebody else's is noticed.
 *
 * Limits:  where tree, seal and state folder belong to one user, whoever is that user can remove all three.
 * Proof:   test/attacks/3-seal.test.ts, test/attacks/3-system.test.ts
 * @module
 */
import * as fs from 'node:fs';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { mendingOf, writersOf } from '../linux/files/path-writers.ts';
import { openState, readPrivate, rootFacts, unreadableRoot, writePrivate } from './state-directory.ts';

// Imports nothing of others, since it runs before anything is verified.
const systemTrust = '/etc/kwyre/seal.json';

/** Names below `seal/`. */
const names = { tree: 'tree.sig', runtime: 'runtime.sig', trust: 'trust.json', log: 'log.jsonl' } as const;

/** The seal of an installation, as far as it is there. */
export type StoredSeal = {
  readonly trust: string;
  readonly tree: Buffer | undefined;
  readonly runtime: Buffer | undefined;
  readonly installed: boolean;
};

function readPlain(path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new KwyreError(
      'L3_MANIFEST_UNREADABLE',
      `cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      'it must be a plain file; seal again with ./kwyre deps seal',
    );
  }
  try {
    if (!fstatSync(fd).isFile())
      throw new KwyreError(
        'L3_MANIFEST_UNREADABLE',
        `${path} is not a plain file`,
        'seal again with ./kwyre deps seal',
      );
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Text of root's trust file when it is about this installation. @throws `L3_TRUST_UNSAFE`, `L3_TRUST_UNREADABLE` */
function readSystemTrust(root: string): string | undefined {
  if (rootFacts(systemTrust, 'L3_TRUST_UNREADABLE') === undefined) return undefined;
  const writers = writersOf(fs, [systemTrust]);
  if (writers.length > 0)
    throw new KwyreError(
      'L3_TRUST_UNSAFE',
      `${systemTrust} is not a file of root that only root may write, with all folders above it`,
      `as root: ${mendingOf(writers)}`,
    );
  let fd: number;
  try {
    fd = openSync(systemTrust, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw unreadableRoot(systemTrust, 'L3_TRUST_UNREADABLE', error);
  }
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile() || facts.uid !== 0)
      throw new KwyreError(
        'L3_TRUST_UNSAFE',
        `${systemTrust} is not a plain file of root`,
        'look at it; put the plain file back, or seal again: ./kwyre deps seal --system',
      );
    const text = readFileSync(fd, 'utf8');
    return text.includes(`"installation": ${JSON.stringify(root)}`) ? text : undefined;
  } finally {
    closeSync(fd);
  }
}

/** The seal of an installation, or `undefined` when it was never sealed. @throws `L3_MANIFEST_*`, `L3_TRUST_*` */
export function readSeal(root: string): StoredSeal | undefined {
  const folder = join(root, 'seal');
  const system = readSystemTrust(root);
  if (system === undefined && !existsSync(folder)) return undefined;
  const trust = system ?? readPlain(join(folder, names.trust))?.toString('utf8');
  if (trust === undefined)
    throw new KwyreError(
      'L3_TRUST_ABSENT',
      `${join(folder, names.trust)} is missing, so that nobody can say who may seal`,
      'put it back; or remove the folder seal/ and seal again with ./kwyre deps seal',
    );
  return {
    trust,
    tree: readPlain(join(folder, names.tree)),
    runtime: readPlain(join(folder, names.runtime)),
    installed: system !== undefined,
  };
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o644 });
  chmodSync(`${path}.new`, 0o644); // whatever the caller's umask: others verify too
  renameSync(`${path}.new`, path);
}

/** Makes a folder that everybody may read, whatever the caller's umask. */
function openFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o755 });
  chmodSync(path, 0o755);
}

/** Writes a seal: the manifests first, the trust file last, then a line in the log. */
export function writeSeal(
  root: string,
  seal: {
    readonly tree: string;
    readonly runtime: string;
    readonly trust: string;
    readonly line: string;
    readonly installed: boolean;
  },
): void {
  const folder = join(root, 'seal');
  openFolder(folder);
  replace(join(folder, names.tree), seal.tree);
  replace(join(folder, names.runtime), seal.runtime);
  if (seal.installed) openFolder(dirname(systemTrust));
  replace(seal.installed ? systemTrust : join(folder, names.trust), seal.trust);
  appendFileSync(join(folder, names.log), `${seal.line}\n`);
  chmodSync(join(folder, names.log), 0o644);
}

/** File in the state folder: the last seal of each installation. */
const memory = 'sealed.json';

/** What is remembered of a seal; `key` and `root` are empty where an older version remembered the number alone. */
type Remembered = { readonly sequence: number; readonly key: string; readonly root: string };

function readMemory(state: string): Readonly<Record<string, unknown>> {
  const path = join(state, memory);
  const text = readPrivate(path);
  if (text === undefined) return {};
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    throw damaged(path);
  }
}

function damaged(path: string): KwyreError {
  return new KwyreError(
    'L3_SEAL_MEMORY',
    `${path}, which remembers what was sealed, is damaged`,
    `if ./kwyre deps verify shows the seal that you made, remove ${path}`,
  );
}

/** The last seal of an installation that this state folder saw; `undefined` for none. @throws `L3_SEAL_MEMORY` */
export function rememberedSeal(state: string, root: string): Remembered | undefined {
  const all = readMemory(state);
  const found = Object.hasOwn(all, root) ? all[root] : undefined;
  if (found === undefined) return undefined;
  if (typeof found === 'number') return { sequence: found, key: '', root: '' };
  const { sequence, key, root: digest } = found as Partial<Record<keyof Remembered, unknown>>;
  if (typeof sequence !== 'number' || typeof key !== 'string' || typeof digest !== 'string')
    throw damaged(join(state, memory));
  return { sequence, key, root: digest };
}

/** Remembers a seal. */
export function rememberSeal(state: string, root: string, seal: Remembered): void {
  writePrivate(join(openState(state), memory), `${JSON.stringify({ ...readMemory(state), [root]: seal })}\n`);
}
