/**
 * `/proc/PID/stat`: parentage, state and start time of a process.
 *
 * Trust:  a process chooses its own name, which may contain anything; layer 6's `cleanName` makes it printable.
 * Source: proc_pid_stat(5)
 * Proof:  test/unit/linux/task-stat.test.ts
 * @module
 */

/** The fields of `stat` that are used. */
type TaskStat = {
  readonly pid: number;
  readonly name: string;
  /** `R`, `S`, `D`, `T` (stopped), `t` (stopped by a tracer), `Z`, ... */
  readonly state: string;
  readonly parent: number;
  /** Whether it is a kernel thread: no memory, no files, no command line. */
  readonly kernel: boolean;
  /** Number of threads, including zombie threads. */
  readonly threads: number;
  /** Start time in ticks since boot; together with the pid it identifies a process uniquely. */
  readonly started: number;
};

const kernelThreadFlag = 0x200000; // PF_KTHREAD, include/linux/sched.h

/** Parses `stat`, whose name field may contain spaces and parentheses. Returns `undefined` for any other form. */
export function parseStat(text: string): TaskStat | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 1 || close < open) return undefined;
  const fields = text.slice(close + 2).split(' ', 20);
  const pid = Number(text.slice(0, open - 1));
  const [state, parent, flags, threads, started] = [fields[0], fields[1], fields[6], fields[17], fields[19]];
  if (!Number.isInteger(pid) || state?.length !== 1 || started === undefined) return undefined;
  return {
    pid,
    name: text.slice(open + 1, close),
    state,
    parent: Number(parent),
    kernel: (Number(flags) & kernelThreadFlag) !== 0,
    threads: Number(threads),
    started: Number(started),
  };
}

/** USER_HZ: ticks per second in `/proc`, the same on every supported architecture. */
const ticksPerSecond = 100;

/**
 * Returns the age of a process in seconds; `execve` does not reset it.
 * @param stat - text of `/proc/PID/stat`
 * @param uptime - text of `/proc/uptime`
 */
export function processAge(stat: string, uptime: string): number {
  return Number(uptime.split(' ')[0]) - (parseStat(stat)?.started ?? Number.NaN) / ticksPerSecond;
}
