/**
 * The flags and output of `kwyre model`.
 *
 * Proof: test/unit/cli/help.test.ts
 * @module
 */
import { parseArgs } from 'node:util';
import { KwyreError } from '../../base/errors.ts';
import { faultsOf } from '../../oms/verification-error.ts';
import type { Method } from '../../oms/statement.ts';
import { defaultShardBytes } from '../../oms/statement.ts';

/** Creates errors about model signatures and manifests. */
export const fault = faultsOf(4, './kwyre help model');

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const options = {
  json: flag,
  yes: flag,
  state: text,
  name: text,
  weights: text,
  method: text,
  key: text,
  out: text,
  label: text,
  'passphrase-file': text,
  'upstream-key': text,
  'upstream-root': text,
  'upstream-identity': text,
  'upstream-issuer': text,
} as const;

/** @throws `USAGE_MODEL` */
export function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], strict: true, allowPositionals: true, options });
  } catch {
    throw usage();
  }
}

export type Flags = ReturnType<typeof parseFlags>['values'];

export function usage(): KwyreError {
  return new KwyreError(
    'USAGE_MODEL',
    'model takes add PATH, list, verify [NAME], sign PATH --key FILE, trust KEY.pem, or remove NAME',
    './kwyre help model',
  );
}

/** Prints a value for programs (`--json`), or a text for human readers. */
export function print(values: Flags, machine: unknown, human: string): void {
  console.log(values.json === true ? JSON.stringify(machine) : human);
}

/** Returns the hashing method: the one from `--method`, or else shards if the model is larger than 4 GiB. */
export function methodOf(values: Flags, bytes: number): Method {
  if (values.method !== undefined && values.method !== 'files' && values.method !== 'shards') throw usage();
  const shards = values.method === undefined ? bytes > 4 * 2 ** 30 : values.method === 'shards';
  return shards ? { kind: 'shards', shardBytes: defaultShardBytes } : { kind: 'files' };
}

/** Returns a function that shows the progress of hashing on the terminal; `undefined` if there is no terminal. */
export function progress(totalBytes: number): ((done: number) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  let shown = -1;
  return (done) => {
    const percent = Math.min(100, Math.floor((done * 100) / Math.max(1, totalBytes)));
    if (percent === shown) return;
    shown = percent;
    process.stderr.write(percent === 100 ? '\r\u001b[K' : `\rhashing ${percent} %`);
  };
}

/** Formats a number of files. */
export const countFiles = (files: number): string => (files === 1 ? '1 file' : `${files} files`);
