/**
 * seccomp: assembles rules into a BPF filter over the system calls of this process.
 *
 * Promise: calls made for another architecture and x32 calls kill the process with SIGSYS, as do `kill` rules. A call
 *          that no rule names gets the default action. A condition compares the low 32 bits of one argument, which hold
 *          every flag and address family.
 * Limits:  a filter cannot dereference pointers.
 * Source:  seccomp(2), https://docs.kernel.org/userspace-api/seccomp_filter.html
 * Proof:   test/attacks/2-jail.test.ts
 * @module
 */
import { addressOf, hostArchitecture, callByName, systemCalls } from './syscalls.ts';

/** The action for a call. */
type Action = 'allow' | 'kill' | { readonly errno: number };

/** A condition on one argument: the rule applies if the masked value is (or is not) the given one. */
type Condition = { readonly argument: number; readonly mask?: number; readonly is?: number; readonly not?: number };

/** One rule; the first rule that applies decides. A rule applies only if all of its conditions hold. */
export type Rule = { readonly call: string; readonly action: Action; readonly when?: Condition | readonly Condition[] };

/** Rules in order, and the action for calls that none of them names. */
export type Filter = { readonly rules: readonly Rule[]; readonly otherwise: Action };

export const errnos = { EPERM: 1, EAFNOSUPPORT: 97, ENOSYS: 38 } as const;

type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, k: number];

const load = 0x20;
const jumpEqual = 0x15;
const jumpGreaterEqual = 0x35;
const and = 0x54;
const ret = 0x06;
const allow = 0x7fff0000;
const killProcess = 0x80000000;
const errnoBase = 0x00050000;
const x32Bit = 0x40000000;
const audit = { x64: 0xc000003e, arm64: 0xc00000b7 } as const;

function verdict(action: Action): number {
  if (action === 'allow') return allow;
  return action === 'kill' ? killProcess : errnoBase | action.errno;
}

/**
 * Assembles a filter.
 * @param numbers - the architecture's system call numbers; rules for calls that it lacks are left out
 */
function assemble(
  filter: Filter,
  numbers: Readonly<Record<string, number>>,
  architecture: keyof typeof audit,
): Instruction[] {
  const program: Instruction[] = [
    [load, 0, 0, 4],
    [jumpEqual, 1, 0, audit[architecture]],
    [ret, 0, 0, killProcess],
    [load, 0, 0, 0],
  ];
  if (architecture === 'x64') program.push([jumpGreaterEqual, 0, 1, x32Bit], [ret, 0, 0, killProcess]);
  for (const rule of filter.rules) {
    const number = numbers[rule.call];
    if (number === undefined) continue;
    if (rule.when === undefined) {
      program.push([jumpEqual, 0, 1, number], [ret, 0, 0, verdict(rule.action)]);
      continue;
    }
    const conditions = [rule.when].flat();
    const body: Instruction[] = conditions.flatMap(({ argument, mask = 0xffffffff, is, not }, index): Instruction[] => {
      const past = 3 * (conditions.length - index - 1) + 1; // skips the other conditions and the verdict
      return [
        [load, 0, 0, 16 + 8 * argument],
        [and, 0, 0, mask >>> 0],
        is !== undefined ? [jumpEqual, 0, past, is >>> 0] : [jumpEqual, past, 0, (not ?? 0) >>> 0],
      ];
    });
    body.push([ret, 0, 0, verdict(rule.action)], [load, 0, 0, 0]);
    program.push([jumpEqual, 0, body.length, number], ...body);
  }
  program.push([ret, 0, 0, verdict(filter.otherwise)]);
  return program;
}

/**
 * Installs a filter on every thread of this process, irrevocably. Needs no_new_privs.
 * @throws LinuxError
 */
export function installFilter(filter: Filter): void {
  const program = assemble(filter, systemCalls[hostArchitecture], hostArchitecture);
  const bytes = Buffer.allocUnsafeSlow(8 * program.length);
  program.forEach(([code, jumpTrue, jumpFalse, k], index) => {
    bytes.writeUInt16LE(code, 8 * index);
    bytes[8 * index + 2] = jumpTrue;
    bytes[8 * index + 3] = jumpFalse;
    bytes.writeUInt32LE(k >>> 0, 8 * index + 4);
  });
  const header = Buffer.allocUnsafeSlow(16).fill(0);
  header.writeUInt16LE(program.length, 0);
  header.writeBigUInt64LE(addressOf(bytes), 8);
  const setModeFilter = 1;
  const everyThread = 1;
  const failed = callByName('seccomp', setModeFilter, everyThread, addressOf(header));
  if (failed !== 0) throw new Error(`BUG(kwyre): thread ${failed} could not take the filter`);
}
