/**
 * Models that were approved through the command line, and servers that serve them from a state folder of their own.
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, until } from './server.ts';
import type { Ending, Server } from './server.ts';

/** A state folder, removed when disposed. */
export function makeState(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'kwyre-state-'));
  chmodSync(path, 0o700);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs `./kwyre` and gives its exit code and output. */
export function kwyre(args: readonly string[]): { code: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(join(root, 'kwyre'), args, { cwd: '/', env: { PATH: process.env['PATH'], HOME: '/' }, encoding: 'utf8', timeout: 60_000 });
  return { code: status, output: `${stdout}${stderr}` };
}

/** Approves a model as a script would. */
export function approve(state: string, path: string, name: string): void {
  const { code, output } = kwyre(['model', 'add', path, '--name', name, '--yes', '--state', state]);
  if (code !== 0) throw new Error(output);
}

export type ModelServer = Pick<Server, 'url' | 'token' | 'pid' | 'ended'> & { stop(): Promise<Ending> };

/** Serves a model; rejects with everything that was printed when the start is refused. */
export async function serveModel(state: string, args: readonly string[]): Promise<ModelServer> {
  const child = spawn(join(root, 'kwyre'), ['serve', '--port', '0', '--state', state, ...args], { cwd: '/', env: { PATH: process.env['PATH'], HOME: '/' }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => (output += chunk.toString()));
  let over: Ending | undefined;
  const ended = new Promise<Ending>((resolve) => child.once('close', (code, signal) => resolve((over = { code, signal }))));
  const port = await until('the server', () => {
    if (over !== undefined) throw new Error(`exit ${over.code}\n${output}`);
    return /on http:\/\/127\.0\.0\.1:(\d+) \(ready/.exec(output)?.[1];
  }, 60_000);
  return {
    url: `http://127.0.0.1:${port}`,
    token: readFileSync(join(state, 'token'), 'utf8').trim(),
    pid: child.pid!,
    ended,
    async stop() {
      child.kill('SIGTERM');
      return await ended;
    },
  };
}
