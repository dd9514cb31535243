/**
 * The first code of every child, before its jail stage and again as its role: from here on it evaluates only modules whose
 * digest the supervisor verified, from the bytes that were hashed; other ways to run code are shut.
 *
 * Run: `node jail/entry.js TARGET ARGUMENTS…`; the list of digests is on its descriptor. Imports node: built-ins only.
 * Proof: test/attacks/3-loads.test.ts, test/attacks/3-doors.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { pathToFileURL } from 'node:url';
import { KwyreError } from '../base/errors.ts';
import { shutDoors } from '../layers/3-dependencies/doors.ts';
import { hookLoads } from '../layers/3-dependencies/hook.ts';
import { loadsDescriptor, readLoads } from '../layers/3-dependencies/loads.ts';

try {
  const list = readLoads(loadsDescriptor);
  hookLoads(list, fs);
  shutDoors(list, fs);
  const [target = ''] = process.argv.splice(2, 1);
  await import(pathToFileURL(target).href);
} catch (error) {
  if (!(error instanceof KwyreError)) throw error;
  console.error(error.message);
  process.exit(error.exitCode);
}
