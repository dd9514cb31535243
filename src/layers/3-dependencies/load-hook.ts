/**
 * The load hook: Node evaluates exactly the bytes that were hashed. Every module is read once, compared, and loaded
 * from memory.
 *
 * Promise: an ES module, CommonJS module or JSON file of the verified tree runs from the bytes whose digest matched,
 *          even if the file changes after verification. A module outside the list is refused before it is read, as are
 *          data:, http: and other URLs.
 * Limits:  the hook covers one thread; no role starts a thread that uses modules from the tree. Native code is loaded
 *          by `native-code.ts`, and `mapped-files.ts` checks the files that the kernel mapped.
 * Proof:   test/attacks/3-tree.test.ts, test/attacks/3-loads.test.ts, test/attacks/3-native.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import { registerHooks } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError, printable } from '../../oms/verification-error.ts';
import { digestsRemedy } from './published-digests.ts';
import type { VerifiedFiles } from './types.ts';

const { hash } = process.getBuiltinModule('node:crypto');

// Captured before other code could replace them.
const digestOf = hash;
const pathOf = fileURLToPath;

/** Folders of Kwyre's own files, which are ES modules; without a signature they have no digest. */
const ownFolders = ['dist/', 'src/'] as const;
const ownFormats: Readonly<Record<string, string>> = { '.js': 'module', '.ts': 'module-typescript' };
const isOwn = (name: string): boolean => ownFolders.some((folder) => name.startsWith(folder));

function refuse(difference: Difference): never {
  throw new DifferenceError(3, 'a module about to run', [difference], digestsRemedy);
}

/** Returns a file's name relative to the root, and its digest if listed. Throws for files outside the installation. */
function nameOf(list: VerifiedFiles, path: string): { name: string; expected: string | undefined } {
  const name = path.startsWith(`${list.root}/`) ? path.slice(list.root.length + 1) : undefined;
  if (name === undefined) return refuse({ kind: 'extra', name: printable(path), found: 'outside the installation' });
  const expected = list.files.get(name);
  if (expected === undefined && (list.signed || !isOwn(name) || name.includes('/node_modules/')))
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
      // Node would look for the file and for each package.json above it, which takes half the time of loading a module.
      if (specifier.startsWith('.') && context.parentURL?.startsWith('file:') === true) {
        const url = new URL(specifier, context.parentURL).href;
        const path = pathOf(url);
        const format = ownFormats[extname(path)];
        if (format !== undefined && isOwn(nameOf(list, path).name)) return { url, format, shortCircuit: true };
      }
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
      const source = disk.readFileSync(path);
      if (expected !== undefined) compare(name, expected, source);
      return { format: formatOf(path, context.format), source, shortCircuit: true };
    },
  });
  return () => {
    hooks.deregister();
  };
}
