/**
 * The first code that runs in every child, both before the jail stage and before the role. It installs the load hook,
 * which restricts the process to modules with a verified digest and to native code from sealed memfds, and it disables
 * other ways to run code. It exits if another process can already read its memory.
 *
 * Run: `node jail/entry.js TARGET ARGUMENTS…`, with the load list on descriptor 7. It imports no third-party modules.
 * Proof: test/attacks/3-loads.test.ts, test/attacks/3-doors.test.ts, test/attacks/6-window.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { KwyreError } from '../base/errors.ts';
import { assertHidden, assertUntraced } from '../layers/2-isolation/jail/exposure-check.ts';
import { lockDownCodeLoading } from '../layers/3-dependencies/code-loading-lockdown.ts';
import { installLoadHook } from '../layers/3-dependencies/load-hook.ts';
import { loadListDescriptor, readLoadList } from '../layers/3-dependencies/load-list.ts';
import { loadAddonsFromMemory } from '../layers/3-dependencies/native-code.ts';

try {
  const list = readLoadList(loadListDescriptor);
  const uid = process.getuid?.() ?? -1;
  assertUntraced(fs);
  if (!list.visible) assertHidden(fs, uid);
  installLoadHook(list, fs);
  loadAddonsFromMemory(list, list.natives);
  lockDownCodeLoading(list);
  const [target = ''] = process.argv.splice(2, 1);
  // A jail stage run by root starts dumpable, which exposes it only to root; the role that it becomes must not be
  // dumpable.
  const isStage = target === join(import.meta.dirname, `main${extname(import.meta.filename)}`);
  if (uid === 0 && !isStage && !list.visible && (await import('../linux/process.ts')).isDumpable())
    throw new KwyreError(
      'L2_PROCESS_VISIBLE',
      'other programs of this user can read the memory of this role',
      'start with ./kwyre serve',
    );
  await import(pathToFileURL(target).href);
} catch (error) {
  if (!(error instanceof KwyreError)) throw error;
  console.error(error.message);
  process.exit(error.exitCode);
}
