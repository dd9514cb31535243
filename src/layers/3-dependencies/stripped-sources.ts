/**
 * The stripped sources: `dist/` contains every file of `src/` without its types, and nothing else.
 *
 * Promise: digests of the sources, never their modification times, decide whether `dist/` is current. Before signing,
 *          all of `dist/` is generated again and compared.
 * Proof:   test/unit/layers/3-stripped-sources.test.ts, test/attacks/3-launcher.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import type { Difference } from '../../oms/verification-error.ts';
import { printable } from '../../oms/verification-error.ts';
import { compareNames } from '../../oms/file-names.ts';

const { hash } = process.getBuiltinModule('node:crypto');

/** The `node:fs` functions that are used here. */
type SourceDisk = Pick<typeof fs, 'readFileSync' | 'readdirSync'>;

/**
 * The list in `dist/`, in the format of `sha256sum -c`: digests of all sources, and of the lockfile, which pins the
 * Node that strips them.
 * @internal
 */
export const sourceList = 'sources.sha256';

const lockfile = 'package-lock.json';

/**
 * Strips the types of one source and changes relative `.ts` specifiers to `.js`; neither shifts a source position.
 * @internal
 */
export function stripSource(code: string): string {
  return stripTypeScriptTypes(code).replaceAll(
    /(from\s+|import\s+|import\()(['"])(\.{1,2}\/[^'"\n]+)\.ts\2/g,
    '$1$2$3.js$2',
  );
}

/** Returns the contents of `dist/`, by file name. */
export function stripSources(disk: SourceDisk, root: string): Map<string, string> {
  const names = disk
    .readdirSync(`${root}/src`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .sort(compareNames);
  const files = new Map<string, string>();
  const lines: string[] = [];
  const note = (name: string): Buffer => {
    const bytes = disk.readFileSync(`${root}/${name}`);
    lines.push(`${hash('sha256', bytes, 'hex')}  ${name}\n`);
    return bytes;
  };
  for (const name of names) files.set(name.replace(/\.ts$/, '.js'), stripSource(note(`src/${name}`).toString('utf8')));
  note(lockfile);
  files.set(sourceList, lines.join(''));
  return files;
}

/** Returns how `dist/` differs from the stripped sources. */
export function strippedFaults(disk: SourceDisk, root: string): Difference[] {
  const wanted = stripSources(disk, root);
  const found = new Set(
    disk
      .readdirSync(`${root}/dist`, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => `${entry.parentPath}/${entry.name}`.slice(root.length + '/dist/'.length)),
  );
  const faults: Difference[] = [];
  for (const [name, text] of wanted) {
    if (!found.delete(name)) faults.push({ kind: 'missing', name: `dist/${printable(name)}` });
    else if (!disk.readFileSync(`${root}/dist/${name}`).equals(Buffer.from(text, 'utf8')))
      faults.push({ kind: 'changed', name: `dist/${printable(name)}`, found: 'differs from its source' });
  }
  return [
    ...faults,
    ...[...found].map((name): Difference => ({
      kind: 'extra',
      name: `dist/${printable(name)}`,
      found: 'has no source',
    })),
  ];
}
