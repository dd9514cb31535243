/**
 * Attacker code in the place of the supervisor, after its own filter: one line of JSON, each attempt with what came of it.
 * Arguments: a port, a Unix socket, and `free` for the control (no filter, and only what speaks: the rest would hurt).
 */
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { lookup, resolve4 } from 'node:dns/promises';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { confineSupervisor, forgoRings } from '../../../src/layers/2-isolation/supervisor.ts';
import { addressOf, callByName as call } from '../../../src/linux/process.ts';
import { makeSocketPair } from '../../../src/linux/socket.ts';

const port = Number(process.argv[2]);
const path = process.argv[3] ?? '';
// As the real one: first without rings, then another image of the same process.
if (process.argv[4] === undefined) {
  forgoRings();
  process.execve!(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1), 'second'], {});
}
if (process.argv[4] === 'second') confineSupervisor();
const inet = (to: number) => Buffer.from([2, 0, to >> 8, to & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);

const dial = async (where: { port: number; host: string } | { path: string }) =>
  await new Promise<void>((resolve, reject) => {
    connect(where).once('connect', resolve).once('error', reject);
  });

const attempts: Record<string, () => unknown> = {
  tcp: async () => { await dial({ port, host: '127.0.0.1' }); },
  'tcp6': async () => { await dial({ port, host: '::1' }); },
  unix: async () => { await dial({ path }); },
  udp: async () =>
    await new Promise<void>((resolve, reject) => {
      const socket = createSocket('udp4');
      socket.once('error', reject);
      socket.send('x', port, '127.0.0.1', (error) => { if (error === null) resolve(); else reject(error); });
    }),
  'dns name': async () => await lookup('example.invalid', { family: 4 }).catch((error: unknown) => { if ((error as { code: string }).code === 'ENOTFOUND') throw Object.assign(new Error(), { code: 'nothing was sent' }); throw error; }),
  'dns query': async () => await Promise.race([resolve4('example.invalid'), sleep(1500).then(() => { throw Object.assign(new Error(), { code: 'nothing was sent' }); })]),
  listen: async () => await new Promise<void>((resolve, reject) => { createServer().once('error', reject).listen(0, '127.0.0.1', resolve); }),
  'fast open': () => call('sendto', call('socket', 2, 1, 0), addressOf(Buffer.from('x')), 1, 0x20000000, addressOf(inet(port)), 16),
  'a worker thread': async () =>
    await new Promise<void>((resolve, reject) => {
      const code = `const { parentPort } = require('node:worker_threads'); require('node:net').connect(${port}, '127.0.0.1').once('connect', () => parentPort.postMessage('ok')).once('error', (e) => parentPort.postMessage(e.code));`;
      new Worker(code, { eval: true }).once('message', (word: string) => { if (word === 'ok') resolve(); else reject(Object.assign(new Error(), { code: word })); });
    }),
  'another program': () => {
    const ran = spawnSync(process.execPath, ['-e', `require('node:net').connect(${port}, '127.0.0.1').once('connect', () => { console.log('ok'); process.exit(); }).once('error', (e) => { console.log(e.code); process.exit(); })`], { encoding: 'utf8', env: {} });
    if (ran.stdout.trim() !== 'ok') throw Object.assign(new Error(), { code: ran.stdout.trim() });
  },
  'a shell': () => {
    const ran = spawnSync('/bin/bash', ['-c', `exec 3<>/dev/tcp/127.0.0.1/${port}`], { encoding: 'utf8', env: { LC_ALL: 'C' } });
    if (ran.status !== 0) throw Object.assign(new Error(), { code: /not permitted/.test(ran.stderr) ? 'EPERM' : ran.stderr });
  },
  ptrace: () => call('ptrace', 16, process.ppid, 0, 0),
  'another process\'s memory': () => call('process_vm_readv', process.ppid, addressOf(Buffer.alloc(16)), 0, addressOf(Buffer.alloc(16)), 0, 0),
  bpf: () => call('bpf', 0, addressOf(Buffer.alloc(72)), 72),
  mount: () => call('mount', addressOf(Buffer.from('none\0')), addressOf(Buffer.from('/proc/self\0')), addressOf(Buffer.from('tmpfs\0')), 0, 0),
  setns: () => call('setns', -1, 0x40000000),
  module: () => call('finit_module', -1, addressOf(Buffer.from('\0')), 0),
  io_uring: () => call('io_uring_setup', 8, addressOf(Buffer.alloc(120))),
  'what it needs: a pair': () => makeSocketPair(),
  'what it needs: a child': () => {
    if (spawnSync('/bin/true').status !== 0) throw Object.assign(new Error(), { code: 'failed' });
  },
};

const speaks = ['tcp', 'unix', 'udp', 'listen', 'a worker thread', 'another program', 'a shell'];

const answers: Record<string, string> = {};
for (const [name, attempt] of Object.entries(attempts)) {
  if (process.argv[4] === 'free' && !speaks.includes(name)) continue;
  try {
    await attempt();
    answers[name] = 'ok';
  } catch (error) {
    answers[name] = (error as { code?: string }).code ?? String(error);
  }
}
console.log(JSON.stringify(answers));
process.exit();
