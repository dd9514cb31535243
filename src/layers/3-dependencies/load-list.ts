/**
 * The digests that a child process loads by, handed down by the supervisor in sealed memory on one descriptor.
 *
 * Promise: the list is the supervisor's, of the tree that it verified in this run; nobody can change it on the way.
 *          Uses node: built-ins only, since it is read before anything else is loaded.
 * Proof:   test/attacks/3-loads.test.ts
 * @module
 */
import { fstatSync, readSync } from 'node:fs';
import { bug, KwyreError } from '../../base/errors.ts';
import type { VerifiedFiles } from './load-hook.ts';

/** Where a child finds the list, in every role. */
export const loadListDescriptor = 7;

/**
 * Where a child finds the sealed memory of native code: the foreign function interface, and in the engine what follows
 * it.
 */
export const nativeDescriptors = { first: 8, most: 24 } as const;

/** Modules, and the names of addons. */
const loadable = /\.(?:js|cjs|mjs|json|ts|node)$/;

/** What a child may load. */
export type LoadList = VerifiedFiles & {
  /** Descriptors of the sealed memory of native code, by its name in the tree; a role is handed those that it needs. */
  readonly natives: ReadonlyMap<string, number>;
  /**
   * Whether Node had to be started from a file that its user can read, so that the process begins visible to that user.
   */
  readonly visible: boolean;
};

/**
 * The part of a verified tree that a child needs, as bytes.
 * @param natives - names of the native code, in the order of its descriptors
 */
export function encodeLoadList(
  { root, signed, files }: VerifiedFiles,
  natives: readonly string[],
  visible = false,
): Buffer {
  if (natives.length > nativeDescriptors.most) bug('more native code than descriptors');
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
  return new KwyreError(
    'L3_LOADS_ABSENT',
    `the list of what this process may load ${reason}`,
    'start with ./kwyre serve',
  );
}

/** Reads the list, whoever read it before. @throws `L3_LOADS_ABSENT` */
export function readLoadList(fd: number): LoadList {
  let bytes: Buffer;
  try {
    const facts = fstatSync(fd);
    if (!facts.isFile()) throw absent('is no file');
    bytes = Buffer.alloc(facts.size);
    if (readSync(fd, bytes, 0, bytes.length, 0) !== bytes.length) throw absent('is cut off');
  } catch (error) {
    if (error instanceof KwyreError) throw error;
    throw absent(`was not handed over (${(error as NodeJS.ErrnoException).code ?? 'error'})`);
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
