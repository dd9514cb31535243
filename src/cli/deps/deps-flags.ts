/**
 * Flags of `kwyre deps`.
 *
 * Proof: test/unit/cli/help.test.ts
 * @module
 */
import { parseArgs } from 'node:util';
import { KwyreError } from '../../base/errors.ts';

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;

/** @throws `USAGE_DEPS` */
export function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: true,
      options: {
        json: flag,
        yes: flag,
        system: flag,
        state: text,
        reason: text,
        key: text,
        format: text,
        'passphrase-file': text,
      },
    });
  } catch {
    throw usage();
  }
}

export type Flags = ReturnType<typeof parseFlags>['values'];

export function usage(): KwyreError {
  return new KwyreError(
    'USAGE_DEPS',
    'deps takes plan [--format sha256sum|cyclonedx], seal --reason TEXT or verify',
    './kwyre help deps',
  );
}
