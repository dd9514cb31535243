/**
 * A process to be watched, in the place of the engine: not dumpable like a sealed role, and obedient to a test.
 *
 * Commands, one a line: `listen`, `udp`, `connect PORT`, `netlink`, `unix PATH`, `inspector`, `child`.
 * @module
 */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { open } from 'node:inspector';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { libc } from '../../src/linux/ffi.ts';
import { setUndumpable } from '../../src/linux/process.ts';

const kept: unknown[] = [];
setUndumpable();
const socket = libc.func('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;

createInterface({ input: process.stdin }).on('line', (line) => {
  const [command = '', argument = ''] = line.split(' ');
  switch (command) {
    case 'listen':
      kept.push(createServer().listen(0, '127.0.0.1'));
      break;
    case 'udp':
      kept.push(createSocket('udp4').bind(0, '127.0.0.1'));
      break;
    case 'connect':
      kept.push(connect(Number(argument), '127.0.0.1'));
      break;
    case 'unix':
      kept.push(connect(argument));
      break;
    case 'netlink':
      kept.push(socket(16, 3, 0));
      break;
    case 'vsock':
      kept.push(socket(40, 1, 0));
      break;
    case 'inspector':
      open(0, '127.0.0.1');
      break;
    case 'child':
      kept.push(spawn('sleep', ['30']));
      break;
    default:
      break;
  }
  console.log(`done ${command}`);
});
console.log('up');
