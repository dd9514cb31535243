/**
 * The second server that `kwyre prove` attacks. It has its own port, a temporary state folder and the embedded guide
 * model.
 *
 * Promise: it ends when the command ends.
 *
 * Proof: test/e2e/prove.test.ts
 * @module
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readPresence } from '../../state/presence.ts';
import { readToken } from '../../state/token-store.ts';

const startTimeoutMs = 60_000;
const stopTimeoutMs = 5000;
const pollMs = 50;
const maxOutputBytes = 1 << 20;

/** A second server that accepts requests. */
export type TargetServer = { readonly port: number; readonly token: string; readonly pid: number };

/** The process of the second server. */
export class TargetProcess {
  readonly #folder = mkdtempSync(join(tmpdir(), 'kwyre-prove-'));
  readonly #child: ChildProcess;
  readonly #end: Promise<void>;
  #ended = false;
  #errors = '';
  #output: Buffer[] = [];
  #outputBytes = 0;

  /** @param root - the installation to start */
  constructor(root: string, extra: readonly string[] = []) {
    const { HOME = '/' } = process.env;
    this.#child = spawn(join(root, 'kwyre'), ['serve', '--port', '0', '--state', this.#folder, ...extra], {
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.#keep(chunk);
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#keep(chunk);
      if (this.#errors.length < 4096) this.#errors += chunk.toString('utf8');
    });
    this.#end = new Promise((resolve) => {
      const end = (): void => {
        this.#ended = true;
        resolve();
      };
      this.#child.once('error', end);
      this.#child.once('close', end);
    });
  }

  /**
   * Waits until the server accepts requests. @returns `undefined` if it ended or took too long; `failure` is then the
   * reason
   */
  async ready(): Promise<TargetServer | undefined> {
    const until = performance.now() + startTimeoutMs;
    while (!this.#ended && performance.now() < until) {
      const presence = readPresence(this.#folder);
      const token = readToken(this.#folder);
      if (presence !== undefined && token !== undefined) return { port: presence.port, token, pid: presence.pid };
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    return undefined;
  }

  /** The server's state folder. */
  get folder(): string {
    return this.#folder;
  }

  /** Everything that the server printed; `undefined` if that was more than 1 MiB. */
  get output(): Buffer | undefined {
    return this.#outputBytes > maxOutputBytes ? undefined : Buffer.concat(this.#output);
  }

  #keep(chunk: Buffer): void {
    this.#outputBytes += chunk.length;
    if (this.#outputBytes <= maxOutputBytes) this.#output.push(chunk);
  }

  /** Whether the server has ended. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The first line that the server wrote to standard error. */
  get failure(): string {
    const [first = ''] = this.#errors.trim().split('\n');
    return first
      .replace(/^kwyre: /, '')
      .replace(/[^\x20-\x7e]/g, '?')
      .slice(0, 400);
  }

  /** Stops the server with SIGTERM, or after 5 s with SIGKILL, and removes its folder. */
  async stop(): Promise<void> {
    if (!this.#ended) this.#child.kill('SIGTERM');
    const timer = setTimeout(() => {
      this.kill();
    }, stopTimeoutMs);
    await this.#end;
    clearTimeout(timer);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Kills the server with SIGKILL, so that its roles end too, and removes its folder. Used when this process exits. */
  kill(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
