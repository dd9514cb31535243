/**
 * An attacker's code in the watchdog's place, sealed like the real one: one attempt per run, and what came of it.
 *
 * Descriptor 3 brings one line `ATTEMPT|PATH|PID`; one line `ANSWER ...` goes back.
 * @module
 */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { libc } from '../../../src/linux/ffi.ts';
import { addressOf, callByName } from '../../../src/linux/syscalls.ts';
import { applyFinalFilter } from '../../../src/layers/2-isolation/jail/final-filter.ts';

const line = Buffer.alloc(512);
const [attempt = '', path = '', pid = '0'] = line.toString('utf8', 0, readSync(3, line)).trim().split('|');
const answer = (text: string) => writeSync(3, `ANSWER ${text}\n`);
const native = {
  ptrace: libc.func('long ptrace(long request, int pid, void *a, void *b)') as (
    request: number,
    pid: number,
    a: null,
    b: null,
  ) => number,
  socket: libc.func('int socket(int domain, int type, int protocol)') as (
    domain: number,
    type: number,
    protocol: number,
  ) => number,
  connect: libc.func('int connect(int fd, void *address, uint32_t length)') as (
    fd: number,
    address: Buffer,
    length: number,
  ) => number,
  fork: libc.func('int fork()') as () => number,
  unshare: libc.func('int unshare(int flags)') as (flags: number) => number,
};
const call = callByName;
const attempts: Readonly<Record<string, () => unknown>> = {
  'read /proc': () => readdirSync('/proc').length > 0 && readFileSync('/proc/1/stat', 'latin1').length > 0,
  write: () => {
    writeFileSync(path, 'x');
  },
  append: () => {
    appendFileSync(path, 'x');
  },
  'open for both': () => {
    closeSync(openSync(path, 'r+'));
  },
  'write to a process': () => {
    closeSync(openSync(`/proc/${pid}/mem`, 'r+'));
  },
  truncate: () => {
    truncateSync(path, 0);
  },
  unlink: () => {
    unlinkSync(path);
  },
  rename: () => {
    renameSync(path, `${path}.new`);
  },
  link: () => {
    symlinkSync(path, `${path}.link`);
  },
  folder: () => {
    mkdirSync(`${path}.folder`);
  },
  mode: () => {
    chmodSync(path, 0o777);
  },
  signal: () => process.kill(Number(pid), 'SIGKILL'),
  program: () => spawnSync('/bin/true').error === undefined,
  'other program': () => call('execve', addressOf(Buffer.from('/bin/true\0')), 0, 0),
  connect: () => native.connect(3, Buffer.from([2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), 16) === 0,
  ptrace: () => native.ptrace(16, Number(pid), null, null) === 0,
  'packet socket': () => native.socket(17, 3, 0) >= 0,
  netlink: () => native.socket(16, 3, 0) >= 0,
  fork: () => native.fork() >= 0,
  namespace: () => native.unshare(0x10000000) === 0,
  'L2-04 udp': () => call('socket', 2, 2, 0),
  'L2-04 raw': () => call('socket', 2, 3, 1),
  'L2-04 vsock': () => call('socket', 40, 1, 0),
  'L2-06 unix': () => call('socket', 1, 1, 0),
  'L2-07 memory file': () => call('memfd_create', addressOf(Buffer.from('x\0')), 0),
  'L2-08 pass a descriptor': () => call('sendmsg', 3, addressOf(Buffer.alloc(64)), 0),
  'L2-08 take a descriptor': () => call('recvmsg', 3, addressOf(Buffer.alloc(64)), 0),
  ring: () => call('io_uring_setup', 8, addressOf(Buffer.alloc(256))),
  "read another's memory": () => call('process_vm_readv', Number(pid), 0, 0, 0, 0, 0),
  'take its descriptors': () => call('pidfd_open', Number(pid), 0),
  mount: () => call('mount', 0, 0, 0, 0, 0),
  bpf: () => call('bpf', 0, 0, 0),
  perf: () => call('perf_event_open', 0, 0, 0, 0, 0),
  keys: () => call('keyctl', 0, 0, 0, 0, 0),
  'become root': () => call('setuid', 0),
  'become dumpable': () => call('prctl', 4, 1, 0, 0, 0),
  'limits of others': () => call('prlimit64', Number(pid), 7, addressOf(new BigUint64Array(2)), 0),
  'signals of a descriptor': () => call('fcntl', 3, 8, Number(pid)),
};
try {
  applyFinalFilter('watchdog');
  const done = attempts[attempt]?.();
  answer(done === false ? 'refused' : 'done');
} catch (error) {
  answer(`refused ${(error as NodeJS.ErrnoException).code ?? 'error'}`);
}
process.exit(0);
