/**
 * A copy of the program with one layer taken out of its source, for tests and benches that need to see what is left:
 * the product itself has no switch that does it.
 * @module
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Layer } from '../../src/base/errors.ts';
import { editCode } from './find-code.ts';

/** One place of the source: what stands there once, and what stands there instead. */
type Change = readonly [file: string, head: string, instead: string];

/** A statement at the beginning of a function. */
const begin = (file: string, head: string, statement: string): Change => [file, head, `${head} ${statement}`];

/** What makes each layer empty, so that the server still starts and answers. */
const emptied: Readonly<Record<Layer, readonly Change[]>> = {
  // The address of the listener stays: another one is a violation to layer 6.
  1: [
    begin(
      'layers/1-loopback/request-guard.ts',
      'export function isLocalConnection(localAddress: string | undefined, remoteAddress: string | undefined): boolean {',
      'return true;',
    ),
    begin(
      'layers/1-loopback/request-guard.ts',
      'export function refusalOf(received: Received, port: number): Refusal | undefined {',
      'return undefined;',
    ),
    begin(
      'layers/1-loopback/bearer-token.ts',
      'match(token: string): Buffer | undefined {',
      'return this.#entries[0]?.principal;',
    ),
    begin(
      'layers/1-loopback/bearer-token.ts',
      'export function credentialOf(rawHeaders: readonly string[]): Credential {',
      "return { kind: 'token', token: 'any' };",
    ),
    // The gateway refuses to start with unprotected routes.
    begin('gateway/admission.ts', 'verifyRoutesClosed(unknownToken: string): number {', 'return 1;'),
  ],
  2: [
    begin(
      'layers/2-isolation/jail/confine.ts',
      'export function confineSelf(here: ConfinementInput): Enforcement[] {',
      'return [];',
    ),
    begin(
      'layers/2-isolation/jail/final-filter.ts',
      'export function applyFinalFilter(role: Role): Enforcement[] {',
      'return [];',
    ),
    begin('layers/2-isolation/jail/supervisor-filter.ts', 'export function disableIoUring(): void {', 'return;'),
    begin('supervisor/roles/self-probe.ts', 'async start(): Promise<void> {', 'return;'),
    // Roles stay root's then, with its capabilities: root's processes are visible when they begin.
    ['jail/entry.ts', 'if (uid === 0 && !isStage', 'if (false && uid === 0 && !isStage'],
    // A role without its filter is a violation to layer 6.
    ['layers/6-intrusion/detectors/ptrace.ts', 'if (status === undefined || ', 'if (true || status === undefined || '],
  ],
  3: [
    [
      'layers/3-dependencies/tree-verifier.ts',
      'if (all.length > 0) throw new DifferenceError(3, `the installation in',
      'if (false) throw new DifferenceError(3, `the installation in',
    ],
    begin(
      'layers/3-dependencies/load-hook.ts',
      'function compare(name: string, expected: string, bytes: Buffer): void {',
      'return;',
    ),
    begin(
      'layers/3-dependencies/code-loading-lockdown.ts',
      'function compare(list: VerifiedFiles, path: string, bytes: string | Buffer): void {',
      'return;',
    ),
  ],
  4: [['layers/4-model/model-verifier.ts', 'if (differences.length > 0) throw', 'if (false) throw']],
  // Every text is kept for ever, and none is overwritten.
  5: [
    [
      'base/bytes.ts',
      'return Buffer.from(new ArrayBuffer(length));',
      'const made = Buffer.from(new ArrayBuffer(length)); ((globalThis as { kept?: Buffer[] }).kept ??= []).push(made); return made;',
    ],
    begin('base/bytes.ts', 'export function wipeBytes(bytes: Uint8Array): void {', 'return;'),
  ],
  6: [
    begin('supervisor/intrusion/alarm.ts', 'raise(violation: Violation, words?: string): void {', 'return;'),
    begin('supervisor/intrusion/alarm.ts', 'async admit(): Promise<void> {', 'this.#isAdmitted = true; return;'),
  ],
};

/** Takes a layer out of the sources below `root`; gives what puts it back. */
export function weaken(root: string, layer: Layer): () => void {
  const before = new Map<string, string>();
  for (const [file, head, instead] of emptied[layer]) {
    const path = join(root, 'src', file);
    const text = editCode(path, head, instead);
    if (!before.has(path)) before.set(path, text);
  }
  return () => {
    for (const [path, text] of before) writeFileSync(path, text);
  };
}
