/**
 * Checks the files that the kernel has mapped as code into this process.
 *
 * Promise: native code that is neither in an inherited memfd, nor verified, nor a system library that only root can
 *          write, is found.
 * Proof:   test/attacks/3-native.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import { asShown, fromShown } from '../../linux/procfs/escaped-path.ts';
import type { Mapping } from '../../linux/procfs/maps.ts';
import type { Difference } from '../../oms/verification-error.ts';
import { printable } from '../../oms/verification-error.ts';
import { executableMappings, isSystemLibrary } from './runtime-check.ts';
import type { VerifiedFiles } from './types.ts';

const { hash } = process.getBuiltinModule('node:crypto');

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
    else if (!name.endsWith('/bin/node') && hash('sha256', disk.readFileSync(path), 'hex') !== expected)
      faults.push({ kind: 'changed', name: printable(name), expected: `sha256:${expected}` });
  }
  return faults;
}
