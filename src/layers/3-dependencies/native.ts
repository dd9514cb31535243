/**
 * Native libraries that a process maps by path: compared right before, and looked at again right after.
 *
 * Promise: a library that is not the verified one, or was touched while it was loaded, ends the start before the first
 *          byte from outside is read.
 * Limits:  the kernel maps the file, not the bytes that were hashed; what a changed library did while it was loaded, it
 *          did inside the jail.
 * Proof:   test/attacks/3-loads.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import type { Disk } from '../../oms/disk.ts';
import { Hasher, openRegular } from '../../oms/disk.ts';
import type { Difference } from '../../oms/fault.ts';
import { DifferenceError, printable } from '../../oms/fault.ts';
import { digestsRemedy } from './digests.ts';
import type { LoadList } from './hook.ts';

/** The calls that are needed, from `node:fs`. */
export type NativeDisk = Disk & Pick<typeof fs, 'readdirSync' | 'lstatSync'>;

function stamp(disk: NativeDisk, path: string): string {
  const { dev, ino, size, ctimeNs } = disk.lstatSync(path, { bigint: true });
  return `${dev}:${ino}:${size}:${ctimeNs}`;
}

/**
 * Compares every library of a folder below the root.
 * @returns to be called after the load; throws when one was touched meanwhile
 * @throws DifferenceError (exit 13)
 */
export function holdNative(list: LoadList, folder: string, disk: NativeDisk): () => void {
  const refuse = (difference: Difference): never => {
    throw new DifferenceError(3, 'native code that is about to be loaded', [difference], digestsRemedy);
  };
  const hasher = new Hasher(disk);
  const held = disk.readdirSync(folder).map((file) => {
    const path = `${folder}/${file}`;
    const name = path.slice(list.root.length + 1);
    const before = stamp(disk, path);
    const expected = list.files.get(name);
    if (expected === undefined) return refuse({ kind: 'extra', name: printable(name) });
    const opened = openRegular(disk, path) ?? refuse({ kind: 'kind', name: printable(name), found: 'no regular file' });
    const { digest: found } = hasher.whole(opened.fd);
    disk.closeSync(opened.fd);
    if (found !== expected) return refuse({ kind: 'changed', name: printable(name), expected: `sha256:${expected}`, found: `sha256:${found}` });
    return { path, name, before };
  });
  return () => {
    for (const { path, name, before } of held) if (stamp(disk, path) !== before) refuse({ kind: 'changed', name: printable(name), found: 'touched while it was loaded' });
  };
}
