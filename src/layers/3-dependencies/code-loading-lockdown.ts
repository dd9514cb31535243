/**
 * Disables every way to run code that bypasses the load hook; no role uses any of them.
 *
 * Promise: a role runs no code from strings, caches, other threads, a debugger or hooks added later, and compiles only
 *          verified files as CommonJS. V8 blocks code from strings (`--disallow-code-generation-from-strings`),
 *          `native-code.ts` handles addons, and this file does the rest.
 * Limits:  stops only JavaScript that was not meant to run. Machine code in a role is confined by the jail (layer 2).
 * Proof:   test/attacks/3-doors.test.ts
 * @module
 */
import Module, { syncBuiltinESMExports } from 'node:module';
import vm from 'node:vm';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError, printable } from '../../oms/verification-error.ts';
import { digestsRemedy } from './published-digests.ts';
import type { VerifiedFiles } from './types.ts';

const { hash } = process.getBuiltinModule('node:crypto');
const inspector = process.getBuiltinModule('node:inspector');
const threads = process.getBuiltinModule('node:worker_threads');

const digestOf = hash;

function refuse(difference: Difference): never {
  throw new DifferenceError(3, 'code about to run', [difference], digestsRemedy);
}

/** Replaces functions with ones that throw, irrevocably. */
function disable(owner: object, names: readonly string[], what: string): void {
  for (const name of names) {
    const value = function refused(): never {
      return refuse({ kind: 'extra', name: `${what}.${name}`, found: 'disabled in roles' });
    };
    Object.defineProperty(owner, name, { value, writable: false, configurable: false });
  }
}

/** Throws if these are not the bytes of a verified file. */
function compare(list: VerifiedFiles, path: string, bytes: string | Buffer): void {
  const name = path.startsWith(`${list.root}/`) ? path.slice(list.root.length + 1) : path;
  const expected = list.files.get(name);
  if (expected === undefined) refuse({ kind: 'extra', name: printable(name) });
  const found = digestOf('sha256', bytes, 'hex');
  if (found !== expected)
    refuse({ kind: 'changed', name: printable(name), expected: `sha256:${expected}`, found: `sha256:${found}` });
}

type Compile = (this: unknown, content: string, path: string, format?: string) => unknown;

/** Disables these ways to run code in this process, irrevocably. */
export function lockDownCodeLoading(list: VerifiedFiles): void {
  const functions = Object.keys(vm).filter((name) => typeof vm[name as keyof typeof vm] === 'function');
  disable(vm, functions, 'vm');
  disable(threads, ['Worker'], 'worker_threads');
  disable(inspector, ['Session', 'open'], 'inspector');
  disable(Module, ['enableCompileCache', 'register', 'registerHooks'], 'module');
  disable(process, ['binding', '_linkedBinding'], 'process');

  const prototype = Module.prototype as unknown as { _compile: Compile };
  const compile = prototype._compile;
  const verifiedCompile: Compile = function verifiedCompile(content, path, format) {
    compare(list, path, content);
    return compile.call(this, content, path, format);
  };
  Object.defineProperty(prototype, '_compile', { value: verifiedCompile, writable: false, configurable: false });

  syncBuiltinESMExports();
}
