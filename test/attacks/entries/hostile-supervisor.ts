/**
 * Attacker code in the place of the supervisor, after its own filter: one line of JSON, each attempt with what came of
 * it.
 * Arguments: an address, a port, a Unix socket, and `free` for the control (no filter, and only what speaks: the rest
 *            would hurt).
 */
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { lookup, resolve4 } from 'node:dns/promises';
import { closeSync, constants, openSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import {
  confineSupervisor,
  limitPrivileges,
  disableIoUring,
} from '../../../src/layers/2-isolation/jail/supervisor-filter.ts';
import { addressOf, callByName as call } from '../../../src/linux/syscalls.ts';
import {
  bindSocket,
  families,
  inetAddress,
  listenSocket,
  makeSocket,
  makeSocketPair,
} from '../../../src/linux/sockets/socket.ts';
import { localAttempts } from '../../../src/layers/2-isolation/probe/local-attempts.ts';

const [host = '', portText = '', path = '', mode] = process.argv.slice(2);
const port = Number(portText);
// As the real one: first without rings and powers, then another image of the same process.
if (mode === undefined) {
  disableIoUring();
  limitPrivileges();
  process.execve!(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1), 'second'], {});
}
// Made before the filter, as the real one has its listener and its channels.
const own = makeSocket(families.inet);
bindSocket(own, inetAddress([127, 0, 0, 1], 0));
listenSocket(own, 1);
const [channel] = makeSocketPair();
const given = makeSocket(families.inet);
if (mode === 'second') confineSupervisor();
const there = inetAddress(host.split('.').map(Number) as [number, number, number, number], port);
const message = Buffer.alloc(64);
const fastOpen = 0x20000000;

const dial = async (where: { port: number; host: string } | { path: string }) =>
  await new Promise<void>((resolve, reject) => {
    connect(where).once('connect', resolve).once('error', reject);
  });

const attempts: Record<string, () => unknown> = {
  tcp: async () => {
    await dial({ port, host });
  },
  tcp6: async () => {
    await dial({ port, host: '::1' });
  },
  unix: async () => {
    await dial({ path });
  },
  udp: async () =>
    await new Promise<void>((resolve, reject) => {
      const socket = createSocket('udp4');
      socket.once('error', reject);
      socket.send('x', port, host, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    }),
  'dns name': async () =>
    await lookup('example.invalid', { family: 4 }).catch((error: unknown) => {
      if ((error as { code: string }).code === 'ENOTFOUND')
        throw Object.assign(new Error(), { code: 'nothing was sent' });
      throw error;
    }),
  'dns query': async () =>
    await Promise.race([
      resolve4('example.invalid'),
      sleep(1500).then(() => {
        throw Object.assign(new Error(), { code: 'nothing was sent' });
      }),
    ]),
  listen: async () =>
    await new Promise<void>((resolve, reject) => {
      createServer().once('error', reject).listen(0, '127.0.0.1', resolve);
    }),
  // Being reached: a socket that listens without an address gets a free port on every interface.
  'reached: listen without bind': () => call('listen', call('socket', 2, 1, 0), 9),
  'reached: listen on what was given': () => call('listen', given, 9),
  'reached: accept on its listener': () => call('accept', own, 0, 0),
  'reached: accept4 on its listener': () => call('accept4', own, 0, 0, 0),
  'reached: a listener of every interface': async () =>
    await new Promise<void>((resolve, reject) => {
      createServer().once('error', reject).listen(0, '0.0.0.0', resolve);
    }),
  'reached: UDP': async () =>
    await new Promise<void>((resolve, reject) => {
      createSocket('udp4').once('error', reject).bind(0, '0.0.0.0', resolve);
    }),
  'reached: a Unix path': async () =>
    await new Promise<void>((resolve, reject) => {
      createServer().once('error', reject).listen(`${path}-own`, resolve);
    }),
  'reached: an abstract Unix name': async () =>
    await new Promise<void>((resolve, reject) => {
      createServer().once('error', reject).listen('\0kwyre-hostile', resolve);
    }),
  'reached: vsock': () =>
    call(
      'bind',
      call('socket', 40, 1, 0),
      addressOf(Buffer.from([40, 0, 0, 0, 57, 5, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0])),
      16,
    ),
  'reached: netlink': () =>
    call('bind', call('socket', 16, 3, 0), addressOf(Buffer.from([16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])), 12),
  'reached: a descriptor handed over': () => call('recvmsg', channel, addressOf(message), 0x40),
  'reached: descriptors handed over': () => call('recvmmsg', channel, addressOf(message), 1, 0x40, 0),
  'reached: a pair with an address': () => call('bind', channel, addressOf(Buffer.from('\x01\0\0kwyre', 'latin1')), 8),
  'reached: shared memory': () => call('shmget', 0x6b777972, 4096, 0o1666),
  'reached: a queue of System V': () => call('msgget', 0x6b777972, 0o1666),
  'reached: a counter of System V': () => call('semget', 0x6b777972, 1, 0o1666),
  'reached: a queue of POSIX': () => call('mq_open', addressOf(Buffer.from('kwyre-hostile\0')), 0o102, 0o666, 0),
  'reached: a pipe with a name': () => call('mknodat', -100, addressOf(Buffer.from(`${path}-pipe\0`)), 0o010666, 0),
  'reached: a pipe with a name, by a program': () => {
    if (spawnSync('/usr/bin/mkfifo', [`${path}-pipe`], { env: {} }).status !== 0)
      throw Object.assign(new Error(), { code: 'EPERM' });
  },
  'reached: a key': () =>
    call(
      'add_key',
      addressOf(Buffer.from('user\0')),
      addressOf(Buffer.from('kwyre\0')),
      addressOf(Buffer.from('x')),
      1,
      -4,
    ),
  'reached: its descriptors by pidfd_getfd': () => call('pidfd_open', process.pid, 0),
  'reached: its memory by becoming dumpable': () => call('prctl', 4, 1, 0, 0, 0),
  'reached: its memory by name': () => call('prctl', 0x59616d61, -1, 0, 0, 0),
  'reached: a word with a signal': () => call('rt_sigqueueinfo', process.ppid, 0, addressOf(Buffer.alloc(128))),
  'reached: the keyboard of a terminal': () => call('ioctl', 0, 0x5412, addressOf(Buffer.from('x'))),
  'reached: its listener on an interface': () => call('setsockopt', own, 1, 25, addressOf(Buffer.from('lo\0')), 3),
  'reached: its port shared': () => call('setsockopt', own, 1, 15, addressOf(new Int32Array([1])), 4),
  'still: a file that others read': () => {
    writeFileSync(`${path}-file`, 'x', { mode: 0o644 });
    unlinkSync(`${path}-file`);
  },
  'still: a memory file in /dev/shm': () => {
    writeFileSync('/dev/shm/kwyre-hostile', 'x', { mode: 0o644 });
    unlinkSync('/dev/shm/kwyre-hostile');
  },
  'still: a terminal of its own': () => {
    closeSync(openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY));
  },
  'still: the title of a process': () => {
    process.title = 'kwyre: hostile';
  },
  'still: memory that a program is given': () => call('memfd_create', addressOf(Buffer.from('x\0')), 0),
  'still: accept where a gateway has its listener': () => {
    // The listener at the number that a fresh gateway accepts on: the filter is the gateway's too.
    call('fcntl', own, 4, 0x800);
    const nodes = call('dup', 5);
    call('dup2', own, 5);
    try {
      call('accept4', 5, 0, 0, 0);
    } catch (error) {
      if ((error as { code: string }).code !== 'EWOULDBLOCK') throw error; // nobody called, but it may
    } finally {
      call('dup2', nodes, 5);
    }
  },
  'fast open': () =>
    call('sendto', call('socket', 2, 1, 0), addressOf(Buffer.from('x')), 1, fastOpen, addressOf(there), 16),
  'a worker thread': async () =>
    await new Promise<void>((resolve, reject) => {
      const code = `const { parentPort } = require('node:worker_threads'); require('node:net').connect(${port}, '${host}').once('connect', () => parentPort.postMessage('ok')).once('error', (e) => parentPort.postMessage(e.code));`;
      new Worker(code, { eval: true }).once('message', (word: string) => {
        if (word === 'ok') resolve();
        else reject(Object.assign(new Error(), { code: word }));
      });
    }),
  'another program': () => {
    const ran = spawnSync(
      process.execPath,
      [
        '-e',
        `require('node:net').connect(${port}, '${host}').once('connect', () => { console.log('ok'); process.exit(); }).once('error', (e) => { console.log(e.code); process.exit(); })`,
      ],
      { encoding: 'utf8', env: {} },
    );
    if (ran.stdout.trim() !== 'ok') throw Object.assign(new Error(), { code: ran.stdout.trim() });
  },
  'a shell': () => {
    const ran = spawnSync('/bin/bash', ['-c', `exec 3<>/dev/tcp/${host}/${port}`], {
      encoding: 'utf8',
      env: { LC_ALL: 'C' },
    });
    if (ran.status !== 0)
      throw Object.assign(new Error(), { code: /not permitted/.test(ran.stderr) ? 'EPERM' : ran.stderr });
  },
  'a program in memory': () => {
    const fd = call('memfd_create', addressOf(Buffer.from('x\0')), 0);
    writeFileSync(fd, readFileSync('/bin/bash'));
    const ran = spawnSync(`/proc/${process.pid}/fd/${fd}`, ['-c', `exec 3<>/dev/tcp/${host}/${port}`], {
      encoding: 'utf8',
      env: { LC_ALL: 'C' },
    });
    if (ran.status !== 0)
      throw Object.assign(new Error(), {
        code: /not permitted/.test(ran.stderr) ? 'EPERM' : `${ran.stderr}${ran.error?.message ?? ''}`,
      });
  },
  'L2-21 its listener: Fast Open': () =>
    call('sendto', own, addressOf(Buffer.from('x')), 1, fastOpen, addressOf(there), 16),
  'L2-21 its listener: Fast Open by message': () => call('sendmsg', own, addressOf(message), fastOpen),
  'L2-22 its listener: connect(AF_UNSPEC)': () => call('connect', own, addressOf(Buffer.alloc(16)), 16),
  'L2-22 its listener: connect': () => call('connect', own, addressOf(there), 16),
  'L2-22 its listener: bind': () => call('bind', own, addressOf(inetAddress([0, 0, 0, 0], 0)), 16),
  'sendmsg with an address': () => call('sendmsg', own, addressOf(message), 0),
  sendmmsg: () => call('sendmmsg', own, addressOf(message), 1, 0),
  'an abstract Unix socket by a channel': () => call('connect', channel, addressOf(Buffer.from('\x01\0\0kwyre')), 8),
  'handing a descriptor on': () => call('sendmsg', channel, addressOf(message), 0),
  'memory by process_vm_readv': () =>
    call('process_vm_readv', process.ppid, addressOf(message), 0, addressOf(message), 0, 0),
  'a descriptor of another process': () => call('pidfd_getfd', call('pidfd_open', process.pid, 0), 0, 0),
  'namespaces by clone': () => call('clone', 0x10000000 | 17, 0, 0, 0, 0),
  'namespaces by clone3': () => call('clone3', addressOf(Buffer.alloc(88)), 88),
  'a mount namespace': () => call('unshare', 0x00020000),
  ...Object.fromEntries(Object.entries(localAttempts).map(([id, { run }]) => [`local: ${id}`, run])),
  'what it needs: a pair': () => makeSocketPair(),
  'what it needs: a child': () => {
    if (spawnSync('/bin/true').status !== 0) throw Object.assign(new Error(), { code: 'failed' });
  },
};

const speaks = ['tcp', 'unix', 'udp', 'listen', 'a worker thread', 'another program', 'a shell'];

const answers: Record<string, string> = {};
for (const [name, attempt] of Object.entries(attempts)) {
  if (mode === 'free' && !speaks.includes(name)) continue;
  try {
    await attempt();
    answers[name] = 'ok';
  } catch (error) {
    answers[name] = (error as { code?: string }).code ?? String(error);
  }
}
console.log(JSON.stringify(answers));
process.exit();
