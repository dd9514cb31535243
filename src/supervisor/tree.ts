/**
 * Layer 3 at the start of the supervisor: what is installed, verified with node: built-ins only.
 *
 * Promise: neither this file nor anything it imports reads a third-party module; it must be called before the first
 *          import of one (koffi comes with `linux/ffi.ts`).
 * Proof:   test/unit/layers/3-verify.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { getCompileCacheDir } from 'node:module';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { digestsFile } from '../layers/3-dependencies/digests.ts';
import type { VerifiedTree } from '../layers/3-dependencies/verify.ts';
import { verifyTree } from '../layers/3-dependencies/verify.ts';

function readText(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    throw new KwyreError('L3_MANIFEST_ABSENT', `cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'}), so that nothing can be verified`, 'get the file back with git checkout, or install again');
  }
}

/** Verifies the installation that this process runs from. @throws `L3_*` (exit 13) */
export function verifyInstallation(root: string): VerifiedTree {
  const platform = `${process.platform}-${process.arch}`;
  if (platform !== 'linux-x64' && platform !== 'linux-arm64') throw new KwyreError('L3_PLATFORM', `there are no digests for ${platform}`, 'run Kwyre on 64-bit Linux (or inside WSL2)');
  return verifyTree({
    disk: fs,
    root,
    digests: readText(join(root, 'src', 'layers', '3-dependencies', digestsFile(platform))),
    lockfile: readText(join(root, 'package-lock.json')),
    threads: 1,
    now: () => performance.now() + performance.timeOrigin,
    running: {
      executable: '/proc/self/exe',
      flags: process.execArgv,
      environment: process.env,
      compileCache: getCompileCacheDir(),
      maps: fs.readFileSync('/proc/self/maps', 'latin1'),
      uid: process.getuid?.() ?? 0,
      platform,
    },
  });
}
