/**
 * `/proc/PID/status` and `/proc/PID/task/TID/status`: credentials, tracer and seccomp state of a thread.
 *
 * Trust:  a process chooses its own name, but the kernel escapes line feeds in it, so no process can forge a field.
 * Source: proc_pid_status(5)
 * Proof:  test/unit/linux/task-status.test.ts
 * @module
 */

/** The fields of `status` that the watchdog uses. */
export type TaskStatus = {
  readonly state: string;
  /** Pid of the tracer, 0 if there is none. */
  readonly tracer: number;
  /** Real, effective, saved and file system uid. */
  readonly uids: readonly number[];
  readonly effectiveCapabilities: bigint;
  /** Bit mask of the signals with a handler. */
  readonly caughtSignals: bigint;
  readonly noNewPrivs: boolean;
  /** Seccomp mode: 0 none, 1 strict, 2 filter. */
  readonly seccomp: number;
  /** Size of the descriptor table: every descriptor number is lower. */
  readonly slots: number;
};

/** Returns the value of one field without surrounding whitespace; empty if the text has no such field. */
export function statusField(text: string, name: string): string {
  const label = `${name}:`;
  const before = text.indexOf(`\n${label}`);
  if (before < 0 && !text.startsWith(label)) return '';
  const start = before + 1 + label.length;
  const end = text.indexOf('\n', start);
  return text.slice(start, end < 0 ? text.length : end).trim();
}

function mask(text: string): bigint {
  return /^[0-9a-f]{1,16}$/.test(text) ? BigInt(`0x${text}`) : 0n;
}

/** Parses `status`. Returns `undefined` if state, tracer or uids are missing. */
export function parseStatus(text: string): TaskStatus | undefined {
  const thread = parseThread(text);
  const uids = statusField(text, 'Uid');
  if (thread === undefined || uids === '') return undefined;
  return {
    ...thread,
    uids: uids.split('\t').map(Number),
    effectiveCapabilities: mask(statusField(text, 'CapEff')),
    caughtSignals: mask(statusField(text, 'SigCgt')),
    noNewPrivs: statusField(text, 'NoNewPrivs') === '1',
    seccomp: Number(statusField(text, 'Seccomp')),
    slots: Number(statusField(text, 'FDSize')),
  };
}

/** Returns one thread's state and tracer: the fields that every scan reads for each of the server's threads. */
export function parseThread(text: string): { readonly state: string; readonly tracer: number } | undefined {
  const [state, tracer] = [statusField(text, 'State'), statusField(text, 'TracerPid')];
  return state === '' || tracer === '' ? undefined : { state: state.charAt(0), tracer: Number(tracer) };
}
