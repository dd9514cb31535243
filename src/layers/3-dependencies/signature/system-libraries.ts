/**
 * Compares the system libraries of a signed installation with their digests at signing time.
 *
 * Limits: a changed library degrades the layer but does not prevent the start, because root may have updated it.
 * Proof:  test/unit/layers/3-signed-tree.test.ts, test/attacks/3-system.test.ts
 * @module
 */
import type { Check } from '../../../base/verdict.ts';
import { Hasher, openRegular } from '../../../oms/tree-reader.ts';
import { printable } from '../../../oms/verification-error.ts';
import type { SystemLibrary } from './runtime-statement.ts';
import type { TreeInput } from '../types.ts';

/** Returns the SHA-256 of a library; empty if it cannot be read. */
export function digestLibrary(input: Pick<TreeInput, 'disk'>, path: string): string {
  const opened = openRegular(input.disk, path);
  if (opened === undefined) return '';
  try {
    return new Hasher(input.disk).whole(opened.fd).digest;
  } finally {
    input.disk.closeSync(opened.fd);
  }
}

/** Returns a check if a mapped system library was changed or added after signing. */
export function libraryChecks(
  input: Pick<TreeInput, 'disk'>,
  signed: readonly SystemLibrary[],
  mapped: readonly string[],
  at: number,
): Check[] {
  const known = new Map(signed.map((library) => [library.path, library.sha256]));
  const changes = mapped.flatMap((path) => {
    const before = known.get(path);
    if (before === undefined) return [`added: ${printable(path)}`];
    return digestLibrary(input, path) === before ? [] : [`changed: ${printable(path)}`];
  });
  return changes.length === 0
    ? []
    : [
        {
          id: 'system-libraries',
          status: 'degraded',
          evidence: `system libraries in this process, since signing: ${changes.join(', ')}`,
          at,
        },
      ];
}
