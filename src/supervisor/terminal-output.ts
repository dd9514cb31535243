/**
 * Prints without ever waiting for a terminal or a pipe.
 *
 * A terminal that Ctrl-S stopped, or a full pipe, would block this process in `write`. Its roles would then hear
 * nothing from it and end, and the server would record a violation. So lines wait here until they can be written.
 *
 * Limits:  beyond 64 KiB of waiting text, lines are dropped and counted. A socket cannot be opened anew, so a service
 *          manager's journal is written to as before.
 * Source:  open(2), `O_NONBLOCK` belongs to an open file description: the shell that shares the terminal keeps its own
 * Proof:   test/e2e/inherited.test.ts
 * @module
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { format } from 'node:util';

const maxWaitingBytes = 64 << 10;
const retryMs = 200;

/** Returns a descriptor of the same terminal or pipe that does not block; `undefined` for any other file. */
function openUnblocked(fd: number): number | undefined {
  try {
    if (!isatty(fd) && !fstatSync(fd).isFIFO()) return undefined;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined; // closed, or a terminal of another user
  }
}

class Output {
  readonly #fd: number;
  #waiting = Buffer.alloc(0);
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(fd: number) {
    this.#fd = fd;
    process.on('exit', () => {
      this.#flush();
    });
  }

  print(line: string): void {
    const bytes = Buffer.from(`${line}\n`, 'utf8');
    if (this.#waiting.length + bytes.length > maxWaitingBytes) this.#dropped += 1;
    else this.#waiting = Buffer.concat([this.#waiting, bytes]);
    this.#flush();
  }

  #flush(): void {
    try {
      while (this.#waiting.length > 0) this.#waiting = this.#waiting.subarray(writeSync(this.#fd, this.#waiting));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') {
        this.#timer ??= setInterval(() => {
          this.#flush();
        }, retryMs).unref();
        return;
      }
      this.#waiting = Buffer.alloc(0); // nobody reads it any more
    }
    clearInterval(this.#timer);
    this.#timer = undefined;
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (dropped > 0) this.print(`kwyre: ${dropped} lines were not printed, because the terminal was stopped`);
  }
}

/** Replaces `log` and `error` of a console by ones that never wait. */
export function printWithoutWaiting(target: Pick<Console, 'log' | 'error'>): void {
  for (const [way, fd] of [
    ['log', 1],
    ['error', 2],
  ] as const) {
    const unblocked = openUnblocked(fd);
    if (unblocked === undefined) continue;
    const output = new Output(unblocked);
    target[way] = (...parts: unknown[]) => {
      output.print(format(...parts));
    };
  }
}
