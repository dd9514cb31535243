/**
 * The first code of every child, before its jail stage and again as its role: from here on it evaluates only modules
 * whose digest the supervisor verified, from the bytes that were hashed, and opens native code from sealed memory of
 * them; other ways to run code are shut. A process into which somebody may look already does not begin.
 *
 * Run: `node jail/entry.js TARGET ARGUMENTS…`; the list of digests is on its descriptor. Imports node: built-ins only.
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
  // Root's jail stage begins visible, to root alone; it becomes a role that does not.
  const isStage = target === join(import.meta.dirname, `main${extname(import.meta.filename)}`);
  if (uid === 0 && !isStage && !list.visible && (await import('../linux/process.ts')).isDumpable())
    throw new KwyreError(
      'L2_PROCESS_VISIBLE',
      'this role began where another program of its user may read its memory',
      'start with ./kwyre serve',
    );
  await import(pathToFileURL(target).href);
} catch (error) {
  if (!(error instanceof KwyreError)) throw error;
  console.error(error.message);
  process.exit(error.exitCode);
}
