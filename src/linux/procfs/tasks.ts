/**
 * Processes and their threads as `/proc` tells them: pure parsers of `stat`, `status`, `maps` and descriptor links.
 *
 * Trust:  names are chosen by the processes themselves; nothing here prints them. See `cleanName` of layer 6.
 * Source: proc_pid_stat(5), proc_pid_status(5), proc_pid_maps(5)
 * Proof:  test/unit/linux/tasks.test.ts
 * @module
 */

/** What we use of `/proc/PID/stat`. */
export type TaskStat = {
  readonly pid: number;
  readonly name: string;
  /** `R`, `S`, `D`, `T` (stopped), `t` (stopped by a tracer), `Z`, ... */
  readonly state: string;
  readonly parent: number;
  /** A thread of the kernel itself: no memory, no files, no command line. */
  readonly kernel: boolean;
  /** How many threads there are; an ended one that its parent has not asked about yet counts as one. */
  readonly threads: number;
  /** Ticks after boot: with the pid it names a process for good. */
  readonly started: number;
};

const kernelThreadFlag = 0x200000; // PF_KTHREAD, include/linux/sched.h

/**
 * Parses `stat`; the name may hold anything, blanks and parentheses too. `undefined` when the text is not of that form.
 */
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

/** What we use of `/proc/PID/status` or `/proc/PID/task/TID/status`. */
export type TaskStatus = {
  readonly state: string;
  /** The process that traces this thread, 0 for none. */
  readonly tracer: number;
  /** Real, effective, saved and file system user. */
  readonly uids: readonly number[];
  readonly effectiveCapabilities: bigint;
  /** Signals that have a handler of the process's own. */
  readonly caughtSignals: bigint;
  readonly noNewPrivs: boolean;
  /** 0 none, 1 strict, 2 filter. */
  readonly seccomp: number;
  /** Places in its table of descriptors: no descriptor has this number or a higher one. */
  readonly slots: number;
};

function field(text: string, name: string): string | undefined {
  const at = text.indexOf(`\n${name}:\t`);
  if (at < 0) return undefined;
  const from = at + name.length + 3;
  const to = text.indexOf('\n', from);
  return text.slice(from, to < 0 ? text.length : to);
}

function mask(text: string | undefined): bigint {
  return text !== undefined && /^[0-9a-f]{1,16}$/.test(text) ? BigInt(`0x${text}`) : 0n;
}

/** Parses `status`; `undefined` when what we rely on is not there. */
export function parseStatus(text: string): TaskStatus | undefined {
  const state = field(text, 'State');
  const tracer = field(text, 'TracerPid');
  const uids = field(text, 'Uid');
  if (state === undefined || tracer === undefined || uids === undefined) return undefined;
  return {
    state: state[0] ?? '?',
    tracer: Number(tracer),
    uids: uids.split('\t').map(Number),
    effectiveCapabilities: mask(field(text, 'CapEff')),
    caughtSignals: mask(field(text, 'SigCgt')),
    noNewPrivs: field(text, 'NoNewPrivs') === '1',
    seccomp: Number(field(text, 'Seccomp') ?? 0),
    slots: Number(field(text, 'FDSize') ?? 0),
  };
}

/** State and tracer of one thread: the two fields that are read for every thread of ours in every scan. */
export function parseThread(text: string): { readonly state: string; readonly tracer: number } | undefined {
  const state = field(text, 'State');
  const tracer = field(text, 'TracerPid');
  return state === undefined || tracer === undefined ? undefined : { state: state[0] ?? '?', tracer: Number(tracer) };
}

/** The inode of a descriptor link `socket:[123]`, or `undefined` for anything else. */
export function socketInode(link: string): number | undefined {
  return link.startsWith('socket:[') ? Number(link.slice(8, -1)) : undefined;
}

/**
 * Whose memory a descriptor link names (`ID/mem` or `ID/task/TID/mem`), and the end of the path that says so; or
 * `undefined`. Anybody can make a folder of that name: what is behind the link is another question
 * (`watchdog/memory-descriptors.ts`).
 */
export function memoryNamed(link: string): { readonly id: number; readonly tail: string } | undefined {
  if (!link.endsWith('/mem')) return undefined;
  const match = /(?:^|\/)(\d+)\/(?:task\/\d+\/)?mem$/.exec(link);
  return match === null
    ? undefined
    : { id: Number(match[1]), tail: match[0].startsWith('/') ? match[0] : `/${match[0]}` };
}

/** What `/proc/PID/fdinfo/N` tells about every descriptor, without a word from the file system that the file is on. */
export type Descriptor = {
  /** Opened as a path only (`O_PATH`): nothing can be read through it, and anybody may do that. */
  readonly pathOnly: boolean;
  readonly mount: number;
  /** `undefined` before Linux 5.14. */
  readonly inode: number | undefined;
};

const pathOnlyFlag = 0o10000000;

/** Parses `fdinfo`; `undefined` when the text is not of that form. */
export function parseDescriptor(text: string): Descriptor | undefined {
  const match = /^pos:\t\d+\nflags:\t0(\d+)\nmnt_id:\t(\d+)\n(?:ino:\t(\d+)\n)?/.exec(text);
  if (match === null) return undefined;
  return {
    pathOnly: (Number.parseInt(match[1] ?? '0', 8) & pathOnlyFlag) !== 0,
    mount: Number(match[2]),
    inode: match[3] === undefined ? undefined : Number(match[3]),
  };
}

/** One mount of a process's namespace. The kernel writes blanks, tabs, line feeds and backslashes of names in octal. */
export type Mount = { readonly device: string; readonly root: string; readonly point: string; readonly kind: string };

/** The mount with this id in `/proc/PID/mountinfo`, or `undefined`. */
export function findMount(text: string, id: number): Mount | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${id} `));
  if (line === undefined) return undefined;
  const [fields = '', source = ''] = line.split(' - ', 2);
  const [, , device, root, point] = fields.split(' ');
  const [kind] = source.split(' ');
  if (device === undefined || root === undefined || point === undefined || kind === undefined) return undefined;
  return { device, root: unescapeMount(root), point: unescapeMount(point), kind };
}

function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_whole, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** An executable mapping of a file, from `/proc/PID/maps`. */
export type Mapping = { readonly path: string; readonly device: number; readonly inode: number };

/** `st_dev` for a major and minor number, as Linux packs them. */
export function makeDevice(major: number, minor: number): number {
  return (minor & 0xff) + (major & 0xfff) * 0x100 + (minor >>> 8) * 0x100000;
}

/** The files that a process has mapped as code, each once; code made at run time has no file and is not listed. */
export function parseCodeMappings(text: string): Mapping[] {
  const found = new Map<string, Mapping>();
  for (const line of text.split('\n')) {
    const match = /^[0-9a-f]+-[0-9a-f]+ ..x. [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)$/.exec(line);
    if (match === null) continue;
    const [, major = '0', minor = '0', inode = '0', path = ''] = match;
    if (inode === '0' && !path.startsWith('/')) continue; // [vdso], [vsyscall], memory of no file
    // By what identifies it: memory of any name can be made.
    const device = makeDevice(Number.parseInt(major, 16), Number.parseInt(minor, 16));
    found.set(`${device}:${inode}:${path}`, { path, device, inode: Number(inode) });
  }
  return [...found.values()];
}

/** Ticks a second in `/proc`, the same on every Linux that we run on. */
const ticks = 100;

/** Seconds since a process was started, all its images together: from `/proc/PID/stat` and `/proc/uptime`. */
export function processAge(stat: string, uptime: string): number {
  const started = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) / ticks;
  return Number(uptime.split(' ')[0]) - started;
}
