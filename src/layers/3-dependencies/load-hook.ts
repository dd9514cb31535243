/**
 * The load hook: Node evaluates exactly the bytes that were hashed. Every module is read once, compared, and loaded
 * from memory.
 *
 * Promise: an ES module, CommonJS module or JSON file of the verified tree runs from the bytes whose digest matched,
 *          even if the file changes after verification. A module outside the list is refused before it is read, as are
 *          data:, http: and other URLs.
 * Limits:  the hook covers one thread; no role starts a thread that uses modules from the tree. Native code is loaded
 *          by `native-code.ts`, and `mappedFaults` checks the files that the kernel mapped.
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
import type { VerifiedFiles } from './types.ts';

// Captured before other code could replace them.
const digestOf = hash;
const pathOf = fileURLToPath;

/** Folders of Kwyre's own files; without a signature they have no digest. */
const ownFolders = ['dist/', 'src/'] as const;

function refuse(difference: Difference): never {
  throw new DifferenceError(3, 'a module about to run', [difference], digestsRemedy);
}

/** Returns a file's name relative to the root, and its digest if listed. Throws for files outside the installation. */
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

/**
 * Checks every module that this thread loads from now on.
 * @returns a function that removes the hook, for tests
 */
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
 * Maps device numbers from `stat` to those in `/proc/PID/maps`. On some file systems they differ; Node's own file shows
 * the difference.
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
 * Returns the files mapped as code that are neither inherited memfds, nor verified files, nor system libraries that
 * only root can write.
 * @param own - identities of the inherited memfds (`identityOf`)
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
          found: 'mapped as code, but neither verified nor a system library',
        });
      continue;
    }
    const name = fromShown(shown.slice(inside.length));
    const path = `${list.root}/${name}`;
    const expected = list.files.get(name);
    const facts = disk.statSync(path, { throwIfNoEntry: false });
    if (expected === undefined) faults.push({ kind: 'extra', name: printable(name), found: 'mapped as code' });
    else if (facts?.ino !== inode || deviceOf(facts.dev) !== device)
      faults.push({ kind: 'changed', name: printable(name), found: 'the file was replaced after it was mapped' });
    else if (!name.endsWith('/bin/node') && digestOf('sha256', disk.readFileSync(path), 'hex') !== expected)
      faults.push({ kind: 'changed', name: printable(name), expected: `sha256:${expected}` });
  }
  return faults;
}
