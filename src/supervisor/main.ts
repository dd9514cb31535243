/**
 * Entry of the supervisor: layer 3 first, with node: built-ins only; whatever comes from elsewhere is imported after it.
 *
 * Promise: no third-party byte is read as code before the installed tree is verified; from then on every module is
 *          evaluated from the bytes whose digest was compared.
 * Proof:   test/attacks/3-tree.test.ts, test/attacks/3-serve.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { parseServe } from '../base/config.ts';
import { KwyreError } from '../base/errors.ts';
import { guardConsole } from '../base/text.ts';
import { hookLoads } from '../layers/3-dependencies/hook.ts';
import { ignoreAgain } from '../linux/ignored.ts';
import { assertOpenFiles } from '../linux/limits.ts';
import { defaultStateDirectory } from '../state/directory.ts';
import { startConfined, takeTree } from './handover.ts';
import { verifyOwnTree } from './tree.ts';

process.title = 'kwyre: supervisor [monitor]';
guardConsole(console);
process.exitCode = 1;
ignoreAgain(process);
try {
  assertOpenFiles(fs.readFileSync('/proc/self/limits', 'utf8'));
  const handed = takeTree();
  const state = parseServe(process.argv.slice(2)).state ?? defaultStateDirectory(process.env);
  const tree = handed ?? verifyOwnTree(join(import.meta.dirname, '..', '..'), state);
  hookLoads(tree, fs);
  if (handed === undefined) await startConfined(tree);
  const { supervise } = await import('./serve.ts');
  process.exitCode = await supervise(process.argv.slice(2), tree);
} catch (error) {
  if (!(error instanceof KwyreError)) throw error;
  console.error(`kwyre: ${error.message}${error.remedy === '' ? '' : `\n  next: ${error.remedy}`}`);
  process.exitCode = error.exitCode;
}
process.exit();
