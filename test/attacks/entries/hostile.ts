/**
 * Attacker code in the place of a role: full JavaScript and FFI power, inside the role's real jail.
 *
 * Descriptor 4 brings one line `MODE ATTEMPT`; one line goes back: `ok`, or the kernel's word for why not.
 */
import { statusField } from '../../../src/linux/procfs/task-status.ts';
import { closeSync, fstatSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { applyFinalFilter } from '../../../src/layers/2-isolation/jail/final-filter.ts';
import { ffi, libc, lastErrno, LinuxError } from '../../../src/linux/ffi.ts';
import { addressOf, callByName, systemCalls } from '../../../src/linux/syscalls.ts';
import { keptDescriptors } from '../../../src/policy/roles.ts';
import type { Role } from '../../../src/policy/roles.ts';

const role = process.argv[2] as Role;
const line = Buffer.alloc(256);
const [mode = '', attempt = ''] = line.toString('utf8', 0, readSync(4, line)).trim().split(' ');
const call = callByName;

/** A sockaddr_in of 127.0.0.1:9 or of the given bytes. */
const inet = (port: number, ...address: number[]) =>
  Buffer.from([2, 0, port >> 8, port & 255, ...address, 0, 0, 0, 0, 0, 0, 0, 0]);
const sendFlags = { fastOpen: 0x20000000 };
const listener = 5;

/** `ok` only where a protection that must be there is seen. */
const seen = (holds: boolean, otherwise: string): void => {
  if (!holds) throw Object.assign(new Error(), { code: otherwise });
};

/** A socket by the table of 32-bit programs: `int 0x80` with socketcall(SOCKET), whose number is getuid's in ours. */
function socketBy32Bits(): number {
  const mmap = libc.func(
    'intptr_t mmap(void *a, size_t length, int protection, int flags, int fd, int64_t offset)',
  ) as (a: null, length: number, protection: number, flags: number, fd: number, offset: number) => number;
  const copy = libc.func('void *memcpy(intptr_t to, void *from, size_t length)') as (
    to: number,
    from: Buffer,
    length: number,
  ) => void;
  const below4GiB = 0x40;
  const at = mmap(null, 4096, 7, 0x22 | below4GiB, -1, 0);
  // push rbx; mov eax, 102; mov ebx, 1; mov ecx, words; int 0x80; pop rbx; ret
  const code = Buffer.from([0x53, 0xb8, 102, 0, 0, 0, 0xbb, 1, 0, 0, 0, 0xb9, 0, 0, 0, 0, 0xcd, 0x80, 0x5b, 0xc3]);
  code.writeUInt32LE(at + 2048, 12);
  copy(at, code, code.length);
  copy(at + 2048, Buffer.from(new Int32Array([2, 1, 0]).buffer), 12);
  return (ffi.decode(BigInt(at), ffi.proto('int socketBy32Bits()')) as () => number)();
}

const refusedOptions: readonly (readonly [level: number, name: number])[] = [
  [0, 4],
  [6, 13],
  [6, 9],
  [1, 5],
  [1, 9],
  [1, 13],
  [6, 1],
];

/** What the image of a role reads when it starts. */
const systemFiles = [
  '/etc/ld.so.cache',
  '/etc/ssl/openssl.cnf',
  '/usr/lib/ssl/openssl.cnf',
  '/proc/meminfo',
  '/proc/cpuinfo',
  '/proc/stat',
  '/proc/sys/vm/overcommit_memory',
  '/sys/devices/system/cpu/online',
  '/sys/devices/system/node',
  '/sys/fs/cgroup',
  '/dev/null',
  '/dev/urandom',
  '/lib',
  '/lib64',
  '/usr/lib',
  '/usr/lib64',
];

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

const attempts: Record<string, () => unknown> = {
  listen: () => call('listen', listener, 9),
  accept: () => call('accept', listener, 0, 0),
  accept4: () => call('accept4', listener, 0, 0, 0),
  '32-bit': () => socketBy32Bits(),
  'own-filter': () => call('seccomp', 1, 0, addressOf(Buffer.alloc(16))),
  'own-descriptors': () => call('clone', 0x3d0f00 & ~0x400, 0, 0, 0, 0),
  'peer-pidfd': () => call('getsockopt', 4, 1, 77, addressOf(new Int32Array(1)), addressOf(new Uint32Array([4]))),
  'slow-parent': () => call('setpriority', 0, process.ppid, 19),
  fifo: () => call('mknod', addressOf(Buffer.from('/tmp/kwyre-pipe\0')), 0o010666, 0),
  pty: () => openSync('/dev/ptmx', 'r+'),
  'add-key': () =>
    call(
      'add_key',
      addressOf(Buffer.from('user\0')),
      addressOf(Buffer.from('kwyre\0')),
      addressOf(Buffer.from('x')),
      1,
      -3,
    ),
  options: () => {
    const left = refusedOptions.filter(([level, name]) => {
      try {
        call('setsockopt', listener, level, name, addressOf(new Int32Array([1, 1])), 4);
        return true;
      } catch (error) {
        return !(error instanceof LinuxError) || error.code !== 'EPERM';
      }
    });
    seen(left.length === 0, `not refused: ${left.join(' and ')}`);
  },
  'is-not-dumpable': () => {
    seen(call('prctl', 3, 0, 0, 0, 0) === 0, 'dumpable');
  },
  'dies-with-parent': () => {
    const signal = new Int32Array(1);
    call('prctl', 2, addressOf(signal), 0, 0, 0);
    seen(signal[0] === 9, `signal ${signal[0] ?? 0}`);
  },
  'no-bounding-set': () => {
    const status = readFileSync('/proc/self/status', 'latin1');
    const sets = ['CapBnd', 'CapPrm', 'CapEff', 'CapInh', 'CapAmb'].filter(
      (name) => BigInt(`0x${statusField(status, name)}`) !== 0n,
    );
    seen(sets.length === 0, sets.join(' and '));
  },
  'its-user': () => {
    const status = readFileSync('/proc/self/status', 'latin1');
    for (const name of ['Uid', 'Gid'])
      seen(/^12345\t12345\t12345\t12345$/.test(statusField(status, name)), `${name} ${statusField(status, name)}`);
  },
  'other-thread': async () => {
    // What the seal alone refuses: the filter of the start was there before any thread.
    const raw = libc.func('long syscall(long number, long a, long b)') as unknown as {
      async(...args: (number | bigint | ((error: unknown, result: number) => void))[]): void;
    };
    const name = Buffer.from('x\0');
    await new Promise((resolve) => {
      raw.async(systemCalls.x64['memfd_create']!, addressOf(name), 0, (_error, result) => {
        resolve(result);
      });
    });
  },
  'its-limits': () => {
    const text = readFileSync('/proc/self/limits', 'latin1');
    const wanted = [
      ['Max core file size', 0],
      ['Max file size', 0],
      ['Max open files', role === 'gateway' ? 2048 : role === 'engine' ? 256 : 64],
    ] as const;
    const wrong = wanted
      .filter(([name, value]) => !new RegExp(`^${name} +${value} +${value} `, 'm').test(text))
      .map(([name]) => name);
    seen(wrong.length === 0, wrong.join(' and '));
  },
  'system-files': () => {
    const closed = systemFiles.filter((path) => {
      try {
        closeSync(openSync(path, 'r'));
        return false;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'EACCES'; // what is not there is hidden as well
      }
    });
    seen(closed.length === 0, closed.join(' and '));
    seen(
      ['/etc/hostname', '/proc/version', '/root', '/home', '/usr/share', '/var'].every((path) => {
        try {
          closeSync(openSync(path, 'r'));
          return false;
        } catch {
          return true;
        }
      }),
      'more than them',
    );
  },
  'secret-memory': () => {
    seen(role === 'engine' ? fstatSync(200).size === 16_384 * 32 : !isOpen(200), 'another one');
  },
  image: () => {
    const flags = [
      '--disable-warning=ExperimentalWarning',
      '--disable-sigusr1',
      '--disable-proto=delete',
      '--disallow-code-generation-from-strings',
      '--clear-free-memory',
    ];
    const missing = flags.filter((flag) => !process.execArgv.includes(flag));
    seen(missing.length === 0, missing.join(' and '));
    seen(
      JSON.stringify(process.env) ===
        JSON.stringify({ GLIBC_TUNABLES: 'glibc.malloc.perturb=165:glibc.malloc.tcache_count=0' }),
      JSON.stringify(process.env),
    );
    seen(!('__proto__' in {}), '__proto__');
  },
  'only-its-descriptors': () => {
    const more = Array.from({ length: 256 }, (_, fd) => fd).filter((fd) => {
      try {
        const facts = fstatSync(fd);
        return fd > 2 && !keptDescriptors[role].includes(fd) && (facts.isSocket() || facts.isFile());
      } catch {
        return false;
      }
    });
    seen(more.length === 0, `also ${more.join(' and ')}`);
  },
  tcp: () => call('socket', 2, 1, 0),
  udp: () => call('socket', 2, 2, 0),
  tcp6: () => call('socket', 10, 1, 0),
  unix: () => call('socket', 1, 1, 0),
  netlink: () => call('socket', 16, 3, 0),
  packet: () => call('socket', 17, 3, 0x300),
  raw: () => call('socket', 2, 3, 1),
  vsock: () => call('socket', 40, 1, 0),
  mptcp: () => call('socket', 2, 1, 262),
  sctp: () => call('socket', 2, 1, 132),
  socketpair: () => call('socketpair', 1, 1, 0, addressOf(new Int32Array(2))),
  io_uring: () => call('io_uring_setup', 8, addressOf(Buffer.alloc(256))),
  io_uring_enter: () => call('io_uring_enter', 0, 1, 0, 0, 0, 0),
  'connect-listener': () => call('connect', listener, addressOf(inet(9, 127, 0, 0, 1)), 16),
  'unspec-listener': () => call('connect', listener, addressOf(Buffer.alloc(16)), 16),
  'fastopen-listener': () => {
    try {
      call('shutdown', listener, 0);
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
    }
    return call(
      'sendto',
      listener,
      addressOf(Buffer.from('x')),
      1,
      sendFlags.fastOpen,
      addressOf(inet(9, 127, 0, 0, 1)),
      16,
    );
  },
  'shutdown-listener': () => call('shutdown', listener, 0),
  'fastopen-message': () => call('sendmsg', listener, addressOf(Buffer.alloc(64)), sendFlags.fastOpen),
  'bind-listener': () => call('bind', listener, addressOf(inet(0, 0, 0, 0, 0)), 16),
  ptrace: () => call('ptrace', 16, process.ppid, 0, 0),
  'read-parent': () => call('process_vm_readv', process.ppid, 0, 0, 0, 0, 0),
  'mem-parent': () => openSync(`/proc/${process.ppid}/mem`, 'r'),
  'signal-parent': () => call('kill', process.ppid, 0),
  fork: () => call('fork'),
  vfork: () => call('vfork'),
  'clone-process': () => call('clone', 17, 0, 0, 0, 0),
  execve: () => call('execve', addressOf(Buffer.from('/bin/true\0')), 0, 0),
  unshare: () => call('unshare', 0x10000000),
  setns: () => call('setns', 0, 0),
  mount: () => call('mount', 0, 0, 0, 0, 0),
  bpf: () => call('bpf', 0, 0, 0),
  perf: () => call('perf_event_open', 0, 0, 0, 0, 0),
  userfaultfd: () => call('userfaultfd', 0),
  keyctl: () => call('keyctl', 0, 0, 0, 0, 0),
  module: () => call('init_module', 0, 0, 0),
  memfd: () => call('memfd_create', addressOf(Buffer.from('x\0')), 0),
  setuid: () => call('setuid', 0),
  'read-passwd': () => readFileSync('/etc/passwd'),
  'read-passwd-pool': () => readFile('/etc/passwd'),
  'write-tmp': () => writeFileSync('/tmp/kwyre-escape', 'x'),
  'write-shm': () => writeFileSync('/dev/shm/kwyre-escape', 'x'),
  'write-code': () => writeFileSync(import.meta.filename, 'x'),
  x32: () => (libc.func('long syscall(long n, long a)') as (n: number, a: number) => number)(0x40000000 + 39, 0),
  'own-signals': () => call('fcntl', listener, 8, process.ppid),
  'own-signals-any': () => call('fcntl', listener, 10, 9),
  'own-signals-ex': () => call('fcntl', listener, 15, addressOf(new Int32Array([1, process.ppid]))),
  'own-signals-ioctl': () => call('ioctl', listener, 0x8901, addressOf(new Int32Array([process.ppid]))),
  'own-signals-group': () => call('ioctl', listener, 0x8902, addressOf(new Int32Array([process.ppid]))),
  interfaces: () => call('ioctl', listener, 0x8912, addressOf(Buffer.alloc(64))),
  dumpable: () => call('prctl', 4, 1, 0, 0, 0),
  'let-debugger-in': () => call('prctl', 0x59616d61, -1, 0, 0, 0),
  outlive: () => call('prctl', 1, 0, 0, 0, 0),
  subreaper: () => call('prctl', 36, 1, 0, 0, 0),
  'limit-parent': () => call('prlimit64', process.ppid, 7, addressOf(new BigUint64Array(2)), 0),
  'signal-thread': () => call('tgkill', process.ppid, process.ppid, 0),
  'signal-queue': () => call('rt_sigqueueinfo', process.ppid, 9, addressOf(Buffer.alloc(128))),
  'message-address': () => call('sendmsg', listener, addressOf(Buffer.alloc(64)), 0),
  'message-many': () => call('sendmmsg', listener, addressOf(Buffer.alloc(64)), 1, 0),
  'send-address': () =>
    call('sendto', listener, addressOf(Buffer.from('x')), 1, 0, addressOf(inet(9, 127, 0, 0, 1)), 16),
  'pass-descriptor': () => call('sendmsg', 4, addressOf(Buffer.alloc(64)), 0),
  'take-descriptor': () => call('recvmsg', 4, addressOf(Buffer.alloc(64)), 0),
  'fork-bomb': () => {
    for (let i = 0; i < 64; i += 1) call('clone', 17, 0, 0, 0, 0);
  },
  'thread-bomb': async () => {
    for (let i = 0; i < 36; i += 1) {
      const worker = new Worker('setInterval(() => undefined, 1e6)', { eval: true });
      await new Promise((resolve, reject) => worker.once('online', resolve).once('error', reject));
    }
  },
  'setuid-helper': () => call('execve', addressOf(Buffer.from('/usr/bin/su\0')), 0, 0),
  'mem-parent-write': () => openSync(`/proc/${process.ppid}/mem`, 'r+'),
  'grow-file': () => writeFileSync(`/proc/self/fd/${listener}`, 'x'),
  handle: () => call('open_by_handle_at', -100, 0, 0),
  'kernel-log': () => call('syslog', 3, 0, 0),
  'socket-option': () => call('setsockopt', listener, 6, 31, addressOf(Buffer.from('tls\0')), 4),
  ipc: () => call('shmget', 0, 4096, 0o1600),
  queue: () => call('mq_open', addressOf(Buffer.from('kwyre\0')), 0o102, 0o600, 0),
  inspector: async () => (await import('node:inspector')).open(0, '127.0.0.1'),
};

// The threads of the pool are there before the seal.
if (attempt === 'other-thread') await readFile(import.meta.filename);
if (mode === 'sealed') applyFinalFilter(role);
let answer = 'ok';
try {
  const result = await attempts[attempt]!();
  if (typeof result === 'number' && result > 2 && attempt.startsWith('mem')) closeSync(result);
} catch (error) {
  answer =
    error instanceof LinuxError
      ? error.code
      : ((error as NodeJS.ErrnoException).code ?? `threw ${String(lastErrno())}`);
}
writeSync(4, `${answer}\n`);
process.exit();
