/**
 * Entry point of the supervisor. Runs layer 3 first, using only node: built-ins, and then imports everything else.
 *
 * Promise: no third-party code runs before it has been verified, and nothing is served before the whole tree has been
 *          verified. From then on, every module is evaluated from the bytes whose digest was compared, and native code
 *          is loaded from immutable memory that holds such bytes.
 * Proof:   test/attacks/3-tree.test.ts, test/attacks/3-serve.test.ts, test/attacks/3-native.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { root } from '../installation/paths.ts';
import { parseServe } from '../base/config.ts';
import { KwyreError } from '../base/errors.ts';
import { guardConsole } from '../base/untrusted-text.ts';
import { assertDumpSetting, assertHidden, assertUntraced } from '../layers/2-isolation/jail/exposure-check.ts';
import { installLoadHook } from '../layers/3-dependencies/load-hook.ts';
import { loadAddonsFromMemory } from '../layers/3-dependencies/native-code.ts';
import { ignoreAgain } from '../linux/ignored-signals.ts';
import { assertOpenFiles } from '../linux/procfs/limits.ts';
import { defaultStateDirectory } from '../state/state-directory.ts';
import { reexec, takeHandover } from './start/reexec.ts';
import { printWithoutWaiting } from './terminal-output.ts';

process.title = 'kwyre: supervisor [monitor]';
printWithoutWaiting(console);
guardConsole(console);
process.exitCode = 1;
ignoreAgain(process);
try {
  assertUntraced(fs);
  assertDumpSetting(fs);
  assertOpenFiles(fs.readFileSync('/proc/self/limits', 'utf8'));
  const handed = takeHandover();
  if (handed === undefined) {
    const state = parseServe(process.argv.slice(2)).state ?? defaultStateDirectory(process.env);
    const { freezeProgram } = await import('./start/program-memory.ts');
    await reexec(await freezeProgram(root, state));
  } else {
    if (!handed.visible) assertHidden(fs, process.getuid?.() ?? -1);
    installLoadHook(handed.tree, fs);
    loadAddonsFromMemory(handed.tree, handed.natives);
    // A process that root starts is visible at first, but only to root.
    (await import('../linux/process.ts')).setUndumpable();
    const { supervise } = await import('./server.ts');
    process.exitCode = await supervise(process.argv.slice(2), handed);
  }
} catch (error) {
  if (!(error instanceof KwyreError)) throw error;
  console.error(`kwyre: ${error.message}${error.remedy === '' ? '' : `\n  next: ${error.remedy}`}`);
  process.exitCode = error.exitCode;
}
process.exit();
