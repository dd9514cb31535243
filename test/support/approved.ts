/**
 * Models that were approved through the command line, in a state folder of their own.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './server.ts';

/** A state folder, removed when disposed. */
export function makeState(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'kwyre-state-'));
  chmodSync(path, 0o700);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs `./kwyre` of this repository, or of a copy, and gives its exit code and output. */
export function kwyre(args: readonly string[], repository = root): { code: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(join(repository, 'kwyre'), args, {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: '/' },
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { code: status, output: `${stdout}${stderr}` };
}

/** Approves a model as a script would. */
export function approve(state: string, path: string, name: string): void {
  const { code, output } = kwyre(['model', 'add', path, '--name', name, '--yes', '--state', state]);
  if (code !== 0) throw new Error(output);
}
