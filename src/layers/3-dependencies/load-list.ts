/**
 * The load list: digests of the files that a child process may load, in a sealed memfd from the supervisor.
 *
 * Promise: the list comes from the supervisor's verification in this run, and the memfd seals prevent changes. Imports
 *          only node: built-ins, because it is read before anything else loads.
 * Proof:   test/attacks/3-loads.test.ts
 * @module
 */
import { fstatSync, readSync } from 'node:fs';
import { bug, KwyreError } from '../../base/errors.ts';
import type { VerifiedFiles } from './types.ts';

/** The descriptor of the list, in every role. */
export const loadListDescriptor = 7;

/**
 * The descriptors of native code in memfds: first the foreign function interface and then, in the engine, its
 * libraries.
 */
export const nativeDescriptors = { first: 8, most: 24 } as const;

/** Names of modules and addons. */
const loadable = /\.(?:js|cjs|mjs|json|ts|node)$/;

/** The code that a child process may load. */
type LoadList = VerifiedFiles & {
  /** Descriptors of native code, by name in the tree; a role inherits only those that it needs. */
  readonly natives: ReadonlyMap<string, number>;
  /** Whether Node runs from a file that its user can read, so that the process starts dumpable. */
  readonly visible: boolean;
};

/**
 * Encodes the part of a verified tree that a child needs.
 * @param natives - names of native code, in the order of its descriptors
 */
export function encodeLoadList(
  { root, signed, files }: VerifiedFiles,
  natives: readonly string[],
  visible = false,
): Buffer {
  if (natives.length > nativeDescriptors.most) bug('more native libraries than descriptors');
  return Buffer.from(
    JSON.stringify({
      root,
      signed,
      files: [...files].filter(([name]) => loadable.test(name)),
      natives: natives.map((name, index) => [name, nativeDescriptors.first + index]),
      visible,
    }),
    'utf8',
  );
}

function absent(reason: string): KwyreError {
  return new KwyreError('L3_LOADS_ABSENT', `the load list of this process ${reason}`, 'start with ./kwyre serve');
}

/** Reads the list from its start, whatever the file offset. @throws `L3_LOADS_ABSENT` */
export function readLoadList(fd: number): LoadList {
  let bytes: Buffer;
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile()) throw absent('is not a file');
    bytes = Buffer.alloc(facts.size);
    if (readSync(fd, bytes, 0, bytes.length, 0) !== bytes.length) throw absent('is truncated');
  } catch (error) {
    if (error instanceof KwyreError) throw error;
    throw absent(`was not inherited (${(error as NodeJS.ErrnoException).code ?? 'error'})`);
  }
  const {
    root,
    signed,
    files,
    natives = [],
    visible = false,
  } = JSON.parse(bytes.toString('utf8')) as {
    root: string;
    signed: boolean;
    files: [string, string][];
    natives?: [string, number][];
    visible?: boolean;
  };
  return { root, signed, files: new Map(files), natives: new Map(natives), visible };
}
