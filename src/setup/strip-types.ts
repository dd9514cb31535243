/**
 * Strips the types of `src/` once into `dist/`, so that no serving process pays for it (0.8 s and 125 MB together).
 *
 * Positions are kept, so stack traces and digests of both copies lead to the same lines. The launcher starts it when
 * the digests in `dist/sources.sha256` are not those of the sources.
 * Run: `node src/setup/strip-types.ts`; prints the number of files written.
 * @module
 */
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { stripSources } from '../layers/3-dependencies/stripped-sources.ts';

const root = join(import.meta.dirname, '..', '..');
const target = join(root, 'dist');
const fresh = `${target}.${String(process.pid)}`;
const old = `${fresh}.old`;
/** How often another process that does the same at the same time may be in the way. */
const mostTries = 5;

/** Removes what earlier runs left that were killed; a folder is named after the process that fills it. */
function removeLeftovers(): void {
  for (const name of fs.readdirSync(root)) {
    const pid = /^dist\.(\d+)(?:\.old)?$/.exec(name)?.[1];
    if (pid !== undefined && !fs.existsSync(`/proc/${pid}`))
      fs.rmSync(join(root, name), { recursive: true, force: true });
  }
}

/** Puts the fresh folder in the place of the one that is there, if any. */
function swap(): void {
  for (let tries = 1; ; tries += 1) {
    fs.rmSync(old, { recursive: true, force: true });
    try {
      if (fs.existsSync(target)) fs.renameSync(target, old);
      fs.renameSync(fresh, target);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (tries === mostTries || (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'EEXIST')) throw error;
    }
  }
}

try {
  removeLeftovers();
  const files = stripSources(fs, root);
  for (const [name, text] of files) {
    const path = join(fresh, name);
    fs.mkdirSync(dirname(path), { recursive: true });
    fs.writeFileSync(path, text);
  }
  swap();
  console.log(String(files.size));
} catch (error) {
  console.error(
    `kwyre: the sources cannot be made into ${target}: ${error instanceof Error ? error.message : 'unknown'}`,
  );
  process.exitCode = 1;
} finally {
  for (const folder of [fresh, old]) fs.rmSync(folder, { recursive: true, force: true });
}
