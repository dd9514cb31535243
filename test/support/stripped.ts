/**
 * A copy of the sources without types, for the processes that tests start beside the server: stripping them anew costs
 * each of those 0.2 s of processor time. Its folder is named after the digest of what it was made of.
 *
 * The server itself runs from `dist/`, and copies that a test changes are not concerned.
 * @module
 */
import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { stripSource } from '../../src/layers/3-dependencies/stripped-sources.ts';

const root = join(import.meta.dirname, '..', '..');
/** Whether this file is itself part of a copy. */
const isCopy = import.meta.filename.endsWith('.js');
const folders = ['src', 'test/support', 'test/attacks/entries'];
const parent = join(root, '.stripped');
/** Copies that are kept: a run of the suite may still be using one that is not the newest. */
const keptCopies = 8;
const keptMs = 600_000;

/** The sources by their names in the repository. */
function readSources(): Map<string, string> {
  return new Map(
    folders.flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(?:ts|json|digests)$/.test(name))
        .sort()
        .map((name) => [`${folder}/${name}`, readFileSync(join(root, folder, name), 'utf8')] as const),
    ),
  );
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function removeOld(): void {
  const copies = readdirSync(parent)
    .filter((name) => name !== 'cache')
    .map((name) => ({
      path: join(parent, name),
      mtimeMs: statSync(join(parent, name), { throwIfNoEntry: false })?.mtimeMs ?? 0,
    }))
    .sort((a, b) => b.mtimeMs - a.mtimeMs);
  for (const { path, mtimeMs } of copies.slice(keptCopies))
    if (Date.now() - mtimeMs > keptMs) rmSync(path, { recursive: true, force: true });
}

/** Makes the copy unless it is there. */
function makeCopy(): string {
  const sources = readSources();
  const digest = createHash('sha256')
    .update(JSON.stringify([...sources]))
    .digest('hex')
    .slice(0, 16);
  const target = join(parent, digest);
  if (isFolder(target)) return target;
  const fresh = join(parent, randomUUID());
  for (const [name, text] of sources) {
    const path = join(fresh, name.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, name.endsWith('.ts') ? stripSource(text) : text);
  }
  writeFileSync(join(fresh, 'package.json'), '{ "type": "module" }\n');
  for (const name of ['node_modules', 'page']) symlinkSync(join(root, name), join(fresh, name));
  try {
    renameSync(fresh, target);
  } catch (error) {
    // Another process made it at the same time.
    rmSync(fresh, { recursive: true, force: true });
    if (!isFolder(target)) throw error;
  }
  removeOld();
  return target;
}

/** The copy; this very folder where it is one; the sources themselves where this user may write none. */
function makeOrUse(): string {
  if (isCopy) return root;
  try {
    return makeCopy();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    return root;
  }
}

let made: string | undefined;

/** The folder of the copy, laid out as the repository; the suite makes it once and names it in the environment. */
export function strippedRoot(): string {
  made ??= process.env['KWYRE_STRIPPED'] ?? makeOrUse();
  return made;
}

/** The copy of one source: `src/jail/main.ts` leads to `…/src/jail/main.js`. */
export function stripped(source: string): string {
  const folder = strippedRoot();
  return join(folder, folder === root && !isCopy ? source : source.replace(/\.ts$/, '.js'));
}

let upToDate = process.env['KWYRE_STRIPPED'] !== undefined;

/** `dist/`, made anew if it is older than the sources: what may load listed files alone has to run from there. */
export function builtProgram(): string {
  if (!upToDate) execFileSync(join(root, 'kwyre'), ['--version'], { stdio: 'ignore' });
  upToDate = true;
  return join(root, 'dist');
}
