/**
 * Runs one system program to completion: by absolute path, without a shell, with an empty environment and a time limit.
 *
 * Trust:   argv comes from plans that consist of constants, numbers and this installation's paths.
 * Limits:  for commands that a user runs (`kwyre isolate`, `kwyre doctor`); no serving process loads this file.
 * Proof:   test/architecture.test.ts
 * @module
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { bug } from '../base/errors.ts';

/** How a program ended and what it printed. */
type CommandResult = {
  readonly ok: boolean;
  readonly code: number | null;
  readonly stdout: string;
  /** Why it failed: the errno, the signal, or the exit status with the first lines of its error output. */
  readonly why: string;
};

/** A program that could not be started has no output at all. */
const text = (output: string | null): string => output ?? '';

/**
 * Runs a program for at most two minutes.
 * @param identity - the user to run it as, if not the current one
 */
export function runCommand(
  argv: readonly string[],
  identity?: { readonly uid: number; readonly gid: number },
): CommandResult {
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
  const firstLines = text(ended.stderr).trim().split('\n').slice(0, 3).join(' / ').replace(/\p{C}/gu, ' ');
  const why =
    ended.error !== undefined
      ? ((ended.error as NodeJS.ErrnoException).code ?? 'error')
      : ended.signal !== null
        ? ended.signal
        : `exit ${ended.status ?? 0}${firstLines === '' ? '' : `: ${firstLines}`}`;
  return { ok: ended.error === undefined && ended.status === 0, code: ended.status, stdout: text(ended.stdout), why };
}

/** Returns the path of a system program, or `undefined`; `PATH` is ignored. */
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
