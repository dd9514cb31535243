/**
 * The bytes that were hashed are the bytes that run: every module is read once, compared, and handed on from memory.
 *
 * Promise: ES modules, CommonJS and JSON of the verified tree are evaluated from the bytes whose digest was compared,
 *          however the file changes between verification and load; a module that is not in the manifest is refused
 *          before it is read as code, and so are data:, http: and other addresses.
 * Limits:  hooks of one thread do not see another's modules (no role starts threads with modules of the tree). Native
 *          code is opened by `native-code.ts`; `mappedFaults` looks at what the kernel mapped of it.
 * Proof:   test/attacks/3-tree.test.ts, test/attacks/3-loads.test.ts, test/attacks/3-native.test.ts
 * @module
 */
import { hash } from 'node:crypto';
import type * as fs from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { asShown, fromShown } from '../../linux/procfs/escaped-path.ts';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError, printable } from '../../oms/verification-error.ts';
import { digestsRemedy } from './published-digests.ts';
import type { Mapping } from '../../linux/procfs/maps.ts';
import { executableMappings, isSystemLibrary } from './runtime-check.ts';
import type { VerifiedTree } from './tree-verifier.ts';

// Taken before any other code of the process could replace them.
const digestOf = hash;
const pathOf = fileURLToPath;

/** The part of a verified tree that loading needs. */
export type VerifiedFiles = Pick<VerifiedTree, 'files' | 'root' | 'signed'>;

/** Our own files in an installation that is not sealed: they are under no digest. */
const ownFolders = ['dist/', 'src/'] as const;

function refuse(difference: Difference): never {
  throw new DifferenceError(3, 'a module that is about to run', [difference], digestsRemedy);
}

/** The name of a file relative to the root, and whether its digest is known; refuses everything outside. */
function nameOf(list: VerifiedFiles, path: string): { name: string; expected: string | undefined } {
  const name = path.startsWith(`${list.root}/`) ? path.slice(list.root.length + 1) : undefined;
  if (name === undefined) return refuse({ kind: 'extra', name: printable(path), found: 'outside the installation' });
  const expected = list.files.get(name);
  if (
    expected === undefined &&
    (list.signed || !ownFolders.some((folder) => name.startsWith(folder)) || name.includes('/node_modules/'))
  )
    refuse({ kind: 'extra', name: printable(name) });
  return { name, expected };
}

function compare(name: string, expected: string, bytes: Buffer): void {
  const found = digestOf('sha256', bytes, 'hex');
  if (found !== expected)
    refuse({ kind: 'changed', name: printable(name), expected: `sha256:${expected}`, found: `sha256:${found}` });
}

function formatOf(path: string, known: string | null | undefined): string {
  if (typeof known === 'string') return known;
  if (path.endsWith('.ts')) return 'module-typescript';
  return path.endsWith('.json') ? 'json' : path.endsWith('.mjs') ? 'module' : 'commonjs';
}

/** Checks every module of this thread from now on. @returns a function that stops it, for tests */
export function installLoadHook(list: VerifiedFiles, disk: Pick<typeof fs, 'readFileSync'>): () => void {
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context);
      if (found.url.startsWith('node:') || found.format === 'builtin') return found;
      if (!found.url.startsWith('file:'))
        refuse({ kind: 'extra', name: printable(found.url.slice(0, 64)), found: 'not a file of the installation' });
      nameOf(list, pathOf(found.url));
      return found;
    },
    load(url, context, next) {
      if (!url.startsWith('file:')) return next(url, context);
      const path = pathOf(url);
      const { name, expected } = nameOf(list, path);
      if (expected === undefined) return next(url, context);
      const source = disk.readFileSync(path);
      compare(name, expected, source);
      return { format: formatOf(path, context.format), source, shortCircuit: true };
    },
  });
  return () => {
    hooks.deregister();
  };
}

/**
 * The device that `maps` shows for one that `stat` shows; some file systems have two numbers, and Node's own file tells
 * them.
 */
function shownDevices(
  list: VerifiedFiles,
  disk: Pick<typeof fs, 'statSync'>,
  mappings: readonly Mapping[],
): (device: number) => number {
  const node = mappings.find(({ path }) => path.startsWith(`${asShown(list.root)}/`) && path.endsWith('/bin/node'));
  const shown = node === undefined ? undefined : disk.statSync(fromShown(node.path), { throwIfNoEntry: false });
  return (device) => (node !== undefined && shown?.ino === node.inode && shown.dev === device ? node.device : device);
}

/**
 * Files that are mapped as code and are neither sealed memory of ours, nor verified files of the tree, nor libraries
 * that only root can write.
 * @param own - identities of what was handed to this process (`identityOf`)
 */
export function mappedFaults(
  list: VerifiedFiles,
  disk: Pick<typeof fs, 'readFileSync' | 'statSync' | 'lstatSync'>,
  maps: string,
  own: ReadonlySet<string>,
): Difference[] {
  const faults: Difference[] = [];
  const mappings = executableMappings(maps);
  const deviceOf = shownDevices(list, disk, mappings);
  const inside = `${asShown(list.root)}/`;
  for (const { path: shown, device, inode } of mappings) {
    if (own.has(`${device}:${inode}`)) continue;
    if (!shown.startsWith(inside)) {
      const elsewhere = fromShown(shown);
      if (!isSystemLibrary(disk, elsewhere))
        faults.push({
          kind: 'extra',
          name: printable(elsewhere),
          found: 'mapped as code, and neither verified nor a library of the system',
        });
      continue;
    }
    const name = fromShown(shown.slice(inside.length));
    const path = `${list.root}/${name}`;
    const expected = list.files.get(name);
    const facts = disk.statSync(path, { throwIfNoEntry: false });
    if (expected === undefined) faults.push({ kind: 'extra', name: printable(name), found: 'mapped as code' });
    else if (facts?.ino !== inode || deviceOf(facts.dev) !== device)
      faults.push({
        kind: 'changed',
        name: printable(name),
        found: 'another file than the mapped one has this name now',
      });
    else if (!name.endsWith('/bin/node') && digestOf('sha256', disk.readFileSync(path), 'hex') !== expected)
      faults.push({ kind: 'changed', name: printable(name), expected: `sha256:${expected}` });
  }
  return faults;
}
