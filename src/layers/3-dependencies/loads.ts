/**
 * The digests that a child process loads by, handed down by the supervisor in sealed memory on one descriptor.
 *
 * Promise: the list is the supervisor's, of the tree that it verified in this run; nobody can change it on the way. Uses
 *          node: built-ins only, since it is read before anything else is loaded.
 * Proof:   test/attacks/3-loads.test.ts
 * @module
 */
import { fstatSync, readSync } from 'node:fs';
import { KwyreError } from '../../base/errors.ts';
import type { LoadList } from './hook.ts';

/** Where a child finds the list, in every role. */
export const loadsDescriptor = 7;

/** Modules and native code: what can be loaded. */
const loadable = /\.(?:js|cjs|mjs|json|ts|node)$|\/bins\//;

/** The part of a verified tree that a child needs, as bytes. */
export function encodeLoads({ root, sealed, files }: LoadList): Buffer {
  return Buffer.from(JSON.stringify({ root, sealed, files: [...files].filter(([name]) => loadable.test(name)) }), 'utf8');
}

function absent(reason: string): KwyreError {
  return new KwyreError('L3_LOADS_ABSENT', `the list of what this process may load ${reason}`, 'start with ./kwyre serve');
}

/** Reads the list, whoever read it before. @throws `L3_LOADS_ABSENT` */
export function readLoads(fd: number): LoadList {
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
  const { root, sealed, files } = JSON.parse(bytes.toString('utf8')) as { root: string; sealed: boolean; files: [string, string][] };
  return { root, sealed, files: new Map(files) };
}
