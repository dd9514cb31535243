/**
 * Hostile entry: makes a client of a listener that was handed over (connect(AF_UNSPEC), then connect) and tells how the
 * kernel answered. No filter of ours is in its way: only the rules of the firewall.
 * @module
 */
import { lastErrno, libc, LinuxError } from '../../../src/linux/ffi.ts';
import { inetAddress } from '../../../src/linux/sockets/socket.ts';

const connect = libc.func('int connect(int fd, void *address, uint32_t length)') as (
  fd: number,
  address: Buffer,
  length: number,
) => number;
const fcntl = libc.func('int fcntl(int fd, int command, int argument)') as (
  fd: number,
  command: number,
  argument: number,
) => number;
const word = (result: number) => (result < 0 ? new LinuxError('connect', lastErrno()).code : 'connected');

const port = Number(process.argv[2]);
fcntl(3, 4, 0); // blocking again
const undone = word(connect(3, Buffer.alloc(16), 16));
console.log(JSON.stringify({ undone, reached: word(connect(3, inetAddress([127, 0, 0, 1], port), 16)) }));
