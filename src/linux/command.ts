/**
 * Runs one program of the system to its end: by absolute path, with arguments and never a shell, an empty environment
 * and a time limit.
 *
 * Trust:   argv comes from plans made of constants and numbers, and of paths of this installation.
 * Limits:  only for commands that a person gives (`kwyre isolate`); no serving process imports it.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { bug } from '../base/errors.ts';

/** How a program ended and what it printed. */
export type Ran = {
  readonly ok: boolean;
  readonly code: number | null;
  readonly stdout: string;
  /** Why it failed: its last words, or the signal. */ readonly why: string;
};

/** There is no output at all of a program that could not be started. */
const text = (output: string | null): string => output ?? '';

/** Runs a program, as another user where `identity` is given. */
export function runCommand(argv: readonly string[], identity?: { readonly uid: number; readonly gid: number }): Ran {
  const [file = '', ...args] = argv;
  if (!/^(\/|[A-Z]:\\)/.test(file)) bug('a program without an absolute path');
  const ended = spawnSync(file, args, {
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' },
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    timeout: 120_000,
    killSignal: 'SIGKILL',
    maxBuffer: 64 << 20,
    ...identity,
  });
  const words = text(ended.stderr).trim().split('\n').slice(0, 3).join(' / ').replace(/\p{C}/gu, ' ');
  const why =
    ended.error !== undefined
      ? ((ended.error as NodeJS.ErrnoException).code ?? 'error')
      : ended.signal !== null
        ? ended.signal
        : `exit ${ended.status ?? 0}${words === '' ? '' : `: ${words}`}`;
  return { ok: ended.error === undefined && ended.status === 0, code: ended.status, stdout: text(ended.stdout), why };
}

/** Where the system keeps a program, or `undefined`; no variable is asked. */
export function findProgram(name: string): string | undefined {
  return ['/usr/sbin', '/usr/bin', '/sbin', '/bin']
    .map((folder) => `${folder}/${name}`)
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return statSync(path).isFile();
      } catch {
        return false;
      }
    });
}
