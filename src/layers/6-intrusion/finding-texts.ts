/**
 * The list of sentences that detectors use. Only these are ever printed about a finding.
 *
 * The supervisor removes the numbers from a sentence: it prints the pid separately, and a hostile watchdog could encode
 * text in a count. A sentence that is not in the list is replaced with a fixed one.
 *
 * Proof: test/unit/layers/6-finding-texts.test.ts
 * @module
 */
import { socketTables } from '../../linux/procfs/net-tables.ts';
import { tools } from './known-tools.ts';

const roles = ['supervisor', 'gateway', 'engine', 'watchdog', 'server'];
const tables = [...socketTables, 'vsock', 'sctp'];

const aboutRole = (role: string): readonly string[] => [
  `traces the ${role}`,
  `threads of the ${role} are stopped`,
  `the cgroup of the ${role} is frozen`,
  `the ${role} runs without its seccomp filter or no_new_privs`,
  `has the memory of the ${role} open`,
  `the ${role} has a child`,
  `the ${role} has a handler for SIGUSR1, which opens Node's inspector`,
  `undeclared files are mapped as code in the ${role}`,
  `files that the ${role} runs were replaced on the disk; it still runs the old ones`,
  `the ${role} has sockets in its empty network`,
  `the ${role} has a socket that no kernel table lists`,
  `the ${role} was stopped`,
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
  'receives a copy of every TCP packet through a raw socket',
  'the model file was written to while it was being served',
  'another process opened the model file for writing',
  'mode, owner, links or times of the model file changed',
  'a kernel module receives a copy of every packet',
  ...tools.flatMap((tool) => [
    `is ${tool.title} (${tool.kind})`,
    `calls itself ${tool.title} but runs another program`,
  ]),
]);

/** The replacement for a sentence that is not in the list. @internal */
export const unlistedText = 'was reported by the watchdog';

/** Returns whether a detector's sentence is in the list. @internal */
export function isListed(what: string): boolean {
  return listedText(what) !== unlistedText;
}

/** Returns the sentence in the list that matches a detector's sentence without its numbers. */
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
