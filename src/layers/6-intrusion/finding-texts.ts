/**
 * What detectors say, as a list: every sentence that is printed while conversations are there is one of these.
 *
 * Numbers are taken out: the id of a process stands beside the sentence, and a count would carry what a hostile
 * watchdog puts in it. A sentence that is not in the list is told without its content.
 *
 * Proof: test/unit/layers/6-finding-texts.test.ts
 * @module
 */
import { tools } from './known-tools.ts';

const roles = ['supervisor', 'gateway', 'engine', 'watchdog', 'server'];
const tables = [
  'tcp',
  'tcp6',
  'udp',
  'udp6',
  'udplite',
  'udplite6',
  'raw',
  'raw6',
  'icmp',
  'icmp6',
  'unix',
  'netlink',
  'packet',
  'vsock',
  'sctp',
];

const aboutRole = (role: string): readonly string[] => [
  `traces the ${role}`,
  `threads of the ${role} are stopped`,
  `the control group of the ${role} is frozen`,
  `the ${role} runs without its seccomp filter or no_new_privs`,
  `has the memory of the ${role} open`,
  `the ${role} has a child`,
  `the ${role} has a handler for SIGUSR1, which opens Node's inspector`,
  `undeclared files are mapped as code in the ${role}`,
  `files that the ${role} runs were replaced on the disk since; it runs the former ones`,
  `the ${role} has sockets in its empty network`,
  `the ${role} has a socket that is in no table of the kernel`,
  `the ${role} stood still`,
  ...tables.flatMap((table) => [
    `the ${role} listens on another socket (${table}), as an inspector does`,
    `a declared socket of the ${role} has changed (${table})`,
    `the ${role} has an undeclared ${table} socket`,
  ]),
];

const sentences: ReadonlySet<string> = new Set([
  ...roles.flatMap(aboutRole),
  'captures the loopback interface',
  'captures every interface',
  'gets a copy of every TCP packet by a raw socket',
  'the file of the model was written to while it is served',
  'another process opened the file of the model for writing',
  'mode, owner, links or times of the model file were changed',
  'a module of the kernel gets a copy of every packet',
  ...tools.flatMap((tool) => [
    `is ${tool.title} (${tool.kind})`,
    `calls itself ${tool.title}, which its program is not`,
  ]),
]);

/** For what is in no list. */
export const unlistedText = 'was seen by the watchdog';

/** Whether a detector's sentence is in the list. */
export function isListed(what: string): boolean {
  return listedText(what) !== unlistedText;
}

/** The sentence of the list that a detector's words are, without their numbers. */
export function listedText(what: string): string {
  if (sentences.has(what)) return what;
  const words = what
    .replace(/ \(pid \d+\)/g, '')
    .replace(/, state \d+\)/g, ')')
    .replace(/ \(state \d+\)/g, '')
    .replace(/ for \d+ s$/, '')
    .replace(/ in its empty network \([a-z0-9, ]+\)$/, ' in its empty network')
    .replace(/^\d+ /, '')
    .replace(/ has \d+ sockets/, ' has sockets');
  return sentences.has(words) ? words : unlistedText;
}
