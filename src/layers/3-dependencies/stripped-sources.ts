/**
 * What runs is made of the sources: `dist/` holds every file of `src/` without its types, and nothing else.
 *
 * Promise: whether the copy is up to date is told by the digests of the sources that it was made of, never by times;
 *          before a seal every byte of it is made again and compared.
 * Proof:   test/unit/layers/3-stripped-sources.test.ts, test/attacks/3-launcher.test.ts
 * @module
 */
import { hash } from 'node:crypto';
import type * as fs from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import type { Difference } from '../../oms/verification-error.ts';
import { printable } from '../../oms/verification-error.ts';
import { compareNames } from '../../oms/file-names.ts';

/** The calls that are needed, from `node:fs`. */
export type SourceDisk = Pick<typeof fs, 'readFileSync' | 'readdirSync'>;

/**
 * The list in `dist/`: digests of all sources and of the lockfile, whose Node strips them, as `sha256sum -c` reads it.
 */
export const sourceList = 'sources.sha256';

const lockfile = 'package-lock.json';

/** Turns relative `.ts` specifiers into `.js` ones of the same length, so that positions stay. */
function retarget(code: string): string {
  return code.replaceAll(/(from\s+|import\s+|import\()(['"])(\.{1,2}\/[^'"\n]+)\.ts\2/g, '$1$2$3.js$2');
}

/** The files that belong into `dist/`, by their names there. */
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
  for (const name of names)
    files.set(name.replace(/\.ts$/, '.js'), retarget(stripTypeScriptTypes(note(`src/${name}`).toString('utf8'))));
  note(lockfile);
  files.set(sourceList, lines.join(''));
  return files;
}

/** How `dist/` differs from what the sources make. */
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
      faults.push({ kind: 'changed', name: `dist/${printable(name)}`, found: 'not what its source makes' });
  }
  return [
    ...faults,
    ...[...found].map((name): Difference => ({
      kind: 'extra',
      name: `dist/${printable(name)}`,
      found: 'made of no source',
    })),
  ];
}
