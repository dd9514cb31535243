/**
 * File trees and keys for tests of layers 3 and 4.
 * @module
 */
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { faultsOf } from '../../src/oms/verification-error.ts';
import type { Rights } from '../../src/oms/tree-reader.ts';

export const fault = faultsOf(4, '');
export const anyRights: Rights = { owners: undefined, refuseGroupWritable: false, refuseLinks: false };
export const strictRights: Rights = {
  owners: new Set([0, process.getuid?.() ?? 0]),
  refuseGroupWritable: true,
  refuseLinks: true,
};

/** A folder with these files, removed when disposed. */
export function makeTree(files: Readonly<Record<string, string | Buffer>>): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'kwyre-tree-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true, mode: 0o755 });
    writeFileSync(join(path, name), content, { mode: 0o644 });
  }
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export function makeKey(curve = 'P-256'): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: curve });
}

/** The code of the error that `run` throws. */
export function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return 'nothing was thrown';
}
