/**
 * System calls that every role's filters allow or refuse depending on their arguments.
 * @module
 */
import type { ConditionalRow } from './role-policy.ts';
import { effects } from './role-policy.ts';

/**
 * CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID: the flags of libc's
 * pthread_create.
 */
const threadFlags = 0x003d0f00;

/** Rules on arguments that apply as soon as a role starts. */
export const startConditions = [
  {
    call: 'clone',
    action: 'allow',
    when: { argument: 0, is: threadFlags },
    reason: 'creates threads with exactly the flags of libc',
    others: 'none: the thread shares the descriptor table that the watchdog reads, and counts toward the process limit',
  },
  {
    call: 'clone',
    action: 'kill',
    when: { argument: 0, mask: 0, is: 0 },
    reason: 'any other clone creates a process, or a thread with a descriptor table that the watchdog does not read',
  },
  {
    call: 'sendto',
    action: 'kill',
    when: { argument: 3, mask: 0x20000000, is: 0x20000000 },
    reason: 'MSG_FASTOPEN opens a connection without a call to connect',
  },
  {
    call: 'sendmsg',
    action: 'kill',
    when: { argument: 2, mask: 0x20000000, is: 0x20000000 },
    reason: 'MSG_FASTOPEN opens a connection without a call to connect',
  },
] as const satisfies readonly ConditionalRow[];

/** O_NONBLOCK, the access mode, O_LARGEFILE: the only flags that F_SETFL may set. */
const plainFlags = 0x800 | 0x3 | 0x8000;
const allBits = 0xffffffff;

/** Rules on arguments in every role's final filter. */
export const conditions = [
  ...startConditions,
  {
    call: 'fcntl',
    action: 'kill',
    when: { argument: 1, is: 8 },
    reason: 'F_SETOWN would make a descriptor signal another process',
  },
  { call: 'fcntl', action: 'kill', when: { argument: 1, is: 10 }, reason: 'F_SETSIG: the same, with any signal' },
  { call: 'fcntl', action: 'kill', when: { argument: 1, is: 15 }, reason: 'F_SETOWN_EX: the same' },
  { call: 'fcntl', action: 'allow', when: { argument: 1, is: 3 }, reason: 'F_GETFL', others: effects.readsOnly },
  {
    call: 'fcntl',
    action: 'allow',
    when: [
      { argument: 1, is: 4 },
      { argument: 0, mask: allBits - 3, is: 0 },
      { argument: 2, mask: allBits - plainFlags, is: 0 },
    ],
    reason: 'F_SETFL: Node restores the flags of the standard streams when it exits',
    others: 'it can make descriptors 0 to 3 blocking or non-blocking; the flag does not affect their peers',
  },
  {
    call: 'ioctl',
    action: 'kill',
    when: { argument: 1, is: 0x8901 },
    reason: 'FIOSETOWN would make a socket signal another process',
  },
  { call: 'ioctl', action: 'kill', when: { argument: 1, is: 0x8902 }, reason: 'SIOCSPGRP: the same' },
  {
    call: 'ioctl',
    action: 'allow',
    when: { argument: 1, is: 0x5421 },
    reason: 'FIONBIO: makes descriptors non-blocking',
    others: 'it can make the listener blocking; the next gateway resets that',
  },
  {
    call: 'ioctl',
    action: 'allow',
    when: { argument: 1, is: 0x5401 },
    reason: 'TCGETS: isatty',
    others: effects.readsOnly,
  },
  {
    call: 'prctl',
    action: 'kill',
    when: { argument: 0, is: 4 },
    reason: 'PR_SET_DUMPABLE would let a debugger of the same user attach again',
  },
  {
    call: 'prctl',
    action: 'kill',
    when: { argument: 0, is: 0x59616d61 },
    reason: 'PR_SET_PTRACER would let a named process attach',
  },
  {
    call: 'prctl',
    action: 'kill',
    when: { argument: 0, is: 1 },
    reason: 'PR_SET_PDEATHSIG would let the role outlive the supervisor',
  },
  {
    call: 'prctl',
    action: 'allow',
    when: { argument: 0, is: 3 },
    reason: 'PR_GET_DUMPABLE',
    others: effects.readsOnly,
  },
  {
    call: 'prctl',
    action: 'allow',
    when: { argument: 0, is: 15 },
    reason: 'PR_SET_NAME: thread names',
    others: "a process that may read this one's /proc folder sees 15 bytes per thread",
  },
  { call: 'prctl', action: 'allow', when: { argument: 0, is: 16 }, reason: 'PR_GET_NAME', others: effects.readsOnly },
  {
    call: 'prctl',
    action: 'allow',
    when: { argument: 0, is: 0x53564d41 },
    reason: 'PR_SET_VMA: V8 names its memory mappings',
    others: "a process that may read this one's maps sees the names",
  },
  {
    call: 'getsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 1 },
      { argument: 2, is: 3 },
    ],
    reason: 'SO_TYPE: the type of a socket',
    others: 'none; SO_PEERPIDFD, which returns a handle on the peer, is a different option',
  },
  {
    call: 'getsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 1 },
      { argument: 2, is: 4 },
    ],
    reason: 'SO_ERROR: why a connection ended',
    others: 'it can consume a pending error of the shared listener',
  },
  {
    call: 'prlimit64',
    action: 'allow',
    when: { argument: 0, is: 0 },
    reason: 'reads its own limits',
    others: 'none: it can only lower its own limits',
  },
  {
    call: 'shutdown',
    action: 'allow',
    when: { argument: 1, is: 1 },
    reason: 'SHUT_WR: ends an answer',
    others: 'the peer sees the end of the connection; on a listener it has no effect',
  },
] as const satisfies readonly ConditionalRow[];
