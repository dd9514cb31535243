/**
 * A second server of our own to attack: another port, a temporary state folder, the embedded guide. It ends with us.
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

const readyMs = 60_000;
const endMs = 5000;
const lookMs = 50;
const mostSaid = 1 << 20;

/** A running second server. */
export type Running = { readonly port: number; readonly token: string; readonly pid: number };

export class Instance {
  readonly #folder = mkdtempSync(join(tmpdir(), 'kwyre-prove-'));
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #over = false;
  #words = '';
  #said: Buffer[] = [];
  #saidBytes = 0;

  /** Starts it from an installation's root. */
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
      if (this.#words.length < 4096) this.#words += chunk.toString('utf8');
    });
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        this.#over = true;
        resolve();
      };
      this.#child.once('error', end);
      this.#child.once('close', end);
    });
  }

  /** Waits until it serves; `undefined` when it ended or took too long, then `words` says why. */
  async ready(): Promise<Running | undefined> {
    const until = performance.now() + readyMs;
    while (!this.#over && performance.now() < until) {
      const presence = readPresence(this.#folder);
      const token = readToken(this.#folder);
      if (presence !== undefined && token !== undefined) return { port: presence.port, token, pid: presence.pid };
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
    return undefined;
  }

  /** Its state folder. */
  get folder(): string {
    return this.#folder;
  }

  /** Everything that it printed; `undefined` when that was more than can be kept. */
  get said(): Buffer | undefined {
    return this.#saidBytes > mostSaid ? undefined : Buffer.concat(this.#said);
  }

  #keep(chunk: Buffer): void {
    this.#saidBytes += chunk.length;
    if (this.#saidBytes <= mostSaid) this.#said.push(chunk);
  }

  /** Whether it is gone. */
  get over(): boolean {
    return this.#over;
  }

  /** What it said last on its way out. */
  get words(): string {
    const [first = ''] = this.#words.trim().split('\n');
    return first
      .replace(/^kwyre: /, '')
      .replace(/[^\x20-\x7e]/g, '?')
      .slice(0, 400);
  }

  /** Ends it, by order first and by force then, and takes its folder away. */
  async stop(): Promise<void> {
    if (!this.#over) this.#child.kill('SIGTERM');
    const timer = setTimeout(() => {
      this.kill();
    }, endMs);
    await this.#ended;
    clearTimeout(timer);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Ends it at once; for the exit path. Its children die with it. */
  kill(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
