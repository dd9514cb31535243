/**
 * The report on layer 4: the verification of the weights, the users who can change the served files, and the program
 * that compared the weights.
 *
 * Proof: test/attacks/4-mutations.test.ts, test/attacks/3-seal.test.ts
 * @module
 */
import * as fs from 'node:fs';
import type { Check, LayerReport } from '../../base/verdict.ts';
import { layerReport } from '../../base/verdict.ts';
import { describeGrant, mendingOf, sortWriters, writersOf } from '../../linux/files/path-writers.ts';
import { printable } from '../../oms/verification-error.ts';

/** Returns a check if another user can change or replace a file from which weights are served. */
export function pathChecks(paths: readonly string[], uid: number): Check[] {
  const { others, groups } = sortWriters(writersOf(fs, paths), uid, fs);
  const [first, ...more] = [...others, ...groups];
  if (first === undefined) return [];
  const evidence =
    `another user can change the served file: ${printable(first.path)} (${describeGrant(first)}); ` +
    `${mendingOf([first, ...more])}, or serve an immutable copy: --weights memfd`;
  return [{ id: 'path', status: 'degraded', evidence, at: Date.now() }];
}

/**
 * Returns the report on layer 4.
 * @param verified - checks of the verified model
 * @param program - the check on the program that verified the model
 */
export function modelReport(verified: readonly Check[], program: Check): LayerReport {
  return layerReport(4, [...verified, program]);
}
