/**
 * Ways to run code that pass the load hook by, shut in every role: no role uses one.
 *
 * Promise: in a role no code comes from text, from cached data, from another thread, from a debugger's word or from
 *          hooks that were added later; what is compiled as CommonJS is the verified file. Addons are
 *          `native-code.ts`'s. Text is shut by V8 itself (`--disallow-code-generation-from-strings`, policy/roles.ts),
 *          the others here.
 * Limits:  these are doors of the language, shut against code that was not meant to run; whoever has machine code of
 *          their own in the role meets the jail (layer 2), not this.
 * Proof:   test/attacks/3-doors.test.ts
 * @module
 */
import { hash } from 'node:crypto';
import inspector from 'node:inspector';
import Module, { syncBuiltinESMExports } from 'node:module';
import vm from 'node:vm';
import threads from 'node:worker_threads';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError, printable } from '../../oms/verification-error.ts';
import { digestsRemedy } from './published-digests.ts';
import type { VerifiedFiles } from './load-hook.ts';

const digestOf = hash;

function refuse(difference: Difference): never {
  throw new DifferenceError(3, 'code that is about to run', [difference], digestsRemedy);
}

/** Puts something that refuses in place of these, for good. */
function shut(owner: object, names: readonly string[], what: string): void {
  for (const name of names) {
    const value = function refused(): never {
      return refuse({ kind: 'extra', name: `${what}.${name}`, found: 'no role uses it' });
    };
    Object.defineProperty(owner, name, { value, writable: false, configurable: false });
  }
}

/** Refuses bytes that are not those of a verified file. */
function compare(list: VerifiedFiles, path: string, bytes: string | Buffer): void {
  const name = path.startsWith(`${list.root}/`) ? path.slice(list.root.length + 1) : path;
  const expected = list.files.get(name);
  if (expected === undefined) refuse({ kind: 'extra', name: printable(name) });
  const found = digestOf('sha256', bytes, 'hex');
  if (found !== expected)
    refuse({ kind: 'changed', name: printable(name), expected: `sha256:${expected}`, found: `sha256:${found}` });
}

type Compile = (this: unknown, content: string, path: string, format?: string) => unknown;

/** Shuts them in this process, for good. */
export function lockDownCodeLoading(list: VerifiedFiles): void {
  const functions = Object.keys(vm).filter((name) => typeof vm[name as keyof typeof vm] === 'function');
  shut(vm, functions, 'vm');
  shut(threads, ['Worker'], 'worker_threads');
  shut(inspector, ['Session', 'open'], 'inspector');
  shut(Module, ['enableCompileCache', 'register', 'registerHooks'], 'module');
  shut(process, ['binding', '_linkedBinding'], 'process');

  const prototype = Module.prototype as unknown as { _compile: Compile };
  const compile = prototype._compile;
  const verifiedCompile: Compile = function verifiedCompile(content, path, format) {
    compare(list, path, content);
    return compile.call(this, content, path, format);
  };
  Object.defineProperty(prototype, '_compile', { value: verifiedCompile, writable: false, configurable: false });

  syncBuiltinESMExports();
}
