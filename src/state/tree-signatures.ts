/**
 * An installation's signatures: two signed manifests in `seal/`, and the trust file beside them or in `/etc/kwyre`.
 *
 * When `/etc/kwyre/seal.json` names this installation, it is the only trust file: the start then fails if `seal/` is
 * gone. Otherwise the state folder records the sequence number, key and root digest of the last signature seen, so that
 * a signature that is missing, rolled back or made with another key is detected.
 *
 * Limits:  if one user owns both the installation and the state folder, that user can remove or replace both.
 * Proof:   test/attacks/3-seal.test.ts, test/attacks/3-system.test.ts, test/unit/state/private-file.test.ts
 * @module
 */
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { appendSafely, readSafely, replaceAtomically } from './private-file.ts';
import { readRootText } from './root-files.ts';
import { openState, readPrivate, writePrivate } from './state-directory.ts';

/** A file owned by root, which every user reads before anything is verified. */
const systemTrust = '/etc/kwyre/seal.json';

/** Names below `seal/`. */
const names = { tree: 'tree.sig', runtime: 'runtime.sig', trust: 'trust.json', log: 'log.jsonl' } as const;

/** The largest signed manifest that its parser accepts. */
const maxManifestBytes = 64 << 20;

/** The signatures of an installation, as far as they exist; none of them is verified yet. */
export type StoredSignatures = {
  /** Text of the trust file. */
  readonly trust: string;
  readonly tree: Buffer | undefined;
  readonly runtime: Buffer | undefined;
  /** Whether root keeps the trust file in `/etc/kwyre`. */
  readonly installed: boolean;
};

/** Reads a manifest; `undefined` if there is none. @throws `L3_MANIFEST_UNREADABLE` */
function readManifest(path: string): Buffer | undefined {
  const read = readSafely(path, { maxBytes: maxManifestBytes });
  if (read.state === 'read') return read.bytes;
  if (read.state === 'absent') return undefined;
  const why = read.state === 'failed' ? read.code : read.why === 'size' ? 'too large' : 'not a regular file';
  throw new KwyreError(
    'L3_MANIFEST_UNREADABLE',
    `cannot read ${path} (${why})`,
    `restore ${path}, or sign the installation again: ./kwyre deps seal`,
  );
}

/**
 * Returns the path of another installation that root's trust file names, as long as that one exists; `undefined` if it
 * names none. @throws `L3_TRUST_UNSAFE`, `L3_TRUST_UNREADABLE`
 */
export function otherSystemInstallation(root: string): string | undefined {
  const text = readRootText(systemTrust, 'L3_TRUST_UNSAFE', 'L3_TRUST_UNREADABLE');
  const named = /^ {2}"installation": (".*"),$/m.exec(text ?? '')?.[1];
  const other = named === undefined ? root : (JSON.parse(named) as string);
  return other !== root && existsSync(other) ? other : undefined;
}

/** Returns root's trust file if it names this installation. @throws `L3_TRUST_UNSAFE`, `L3_TRUST_UNREADABLE` */
function readSystemTrust(root: string): string | undefined {
  const text = readRootText(systemTrust, 'L3_TRUST_UNSAFE', 'L3_TRUST_UNREADABLE');
  return text?.includes(`"installation": ${JSON.stringify(root)}`) === true ? text : undefined;
}

/** Returns an installation's signatures; `undefined` if it was never signed. @throws `L3_MANIFEST_*`, `L3_TRUST_*` */
export function readSignatures(root: string): StoredSignatures | undefined {
  const folder = join(root, 'seal');
  const system = readSystemTrust(root);
  if (system === undefined && !existsSync(folder)) return undefined;
  const trust = system ?? readManifest(join(folder, names.trust))?.toString('utf8');
  if (trust === undefined)
    throw new KwyreError(
      'L3_TRUST_ABSENT',
      `${join(folder, names.trust)} is missing, so the signing key is unknown`,
      `restore the file; or remove ${folder} and sign the installation again: ./kwyre deps seal`,
    );
  return {
    trust,
    tree: readManifest(join(folder, names.tree)),
    runtime: readManifest(join(folder, names.runtime)),
    installed: system !== undefined,
  };
}

/** Writes a file that every user may read and verify. */
function publish(path: string, text: string): void {
  replaceAtomically(path, text, { mode: 0o644, durable: true });
}

/** Creates a folder that every user may read, regardless of the umask. */
function makePublicFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o755 });
  chmodSync(path, 0o755);
}

/** The texts that `kwyre deps seal` signs and stores. */
type NewSignatures = {
  readonly tree: string;
  readonly runtime: string;
  readonly trust: string;
  /** One line for the log. */
  readonly line: string;
  /** Whether the trust file is written to `/etc/kwyre`. */
  readonly installed: boolean;
};

/** Writes the signed manifests, then the trust file, then a line in the log. @throws `L3_MANIFEST_UNWRITABLE` */
export function writeSignatures(root: string, signatures: NewSignatures): void {
  const folder = join(root, 'seal');
  try {
    makePublicFolder(folder);
    publish(join(folder, names.tree), signatures.tree);
    publish(join(folder, names.runtime), signatures.runtime);
    if (signatures.installed) makePublicFolder(dirname(systemTrust));
    publish(signatures.installed ? systemTrust : join(folder, names.trust), signatures.trust);
    appendSafely(join(folder, names.log), `${signatures.line}\n`, 0o644);
  } catch (error) {
    const { code = 'error', path = folder } = error as NodeJS.ErrnoException;
    throw new KwyreError(
      'L3_MANIFEST_UNWRITABLE',
      `cannot write ${path} (${code})`,
      `make ${folder} a writable folder without symbolic links in it, then run ./kwyre deps seal again`,
    );
  }
}

/** File in the state folder: the last signature of each installation. */
const memoryName = 'sealed.json';

/** The recorded signature; `key` and `root` are empty if an older version recorded only the number. */
type RememberedSignature = { readonly sequence: number; readonly key: string; readonly root: string };

function readMemory(state: string): Readonly<Record<string, unknown>> {
  const path = join(state, memoryName);
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
    `${path}, which remembers the last signature, is damaged`,
    `if ./kwyre deps verify shows your own signature, remove ${path}`,
  );
}

/** Returns an installation's last signature recorded in this state folder, if any. @throws `L3_SEAL_MEMORY` */
export function rememberedSignature(state: string, root: string): RememberedSignature | undefined {
  const all = readMemory(state);
  const found = Object.hasOwn(all, root) ? all[root] : undefined;
  if (found === undefined) return undefined;
  if (typeof found === 'number') return { sequence: found, key: '', root: '' };
  const { sequence, key, root: digest } = found as Partial<Record<keyof RememberedSignature, unknown>>;
  if (typeof sequence !== 'number' || typeof key !== 'string' || typeof digest !== 'string')
    throw damaged(join(state, memoryName));
  return { sequence, key, root: digest };
}

/** Records a signature in the state folder. */
export function rememberSignature(state: string, root: string, signature: RememberedSignature): void {
  writePrivate(join(openState(state), memoryName), `${JSON.stringify({ ...readMemory(state), [root]: signature })}\n`);
}
