/**
 * A payload in a living process: its main thread makes one system call with the process's own descriptors, as an
 * attacker who took it over would. Root only (the roles are not dumpable), x64 only, and gone again after a few
 * milliseconds.
 *
 * Source: ptrace(2)
 * @module
 */
import { checked, libc } from '../../src/linux/ffi.ts';
import { addressOf, callByName } from '../../src/linux/syscalls.ts';

const requests = {
  peek: 1,
  poke: 4,
  step: 9,
  getRegisters: 12,
  setRegisters: 13,
  detach: 17,
  seize: 0x4206,
  interrupt: 0x4207,
} as const;
const waitpid = libc.func('int waitpid(int pid, int *status, int options)') as (
  pid: number,
  status: Int32Array,
  options: number,
) => number;
const everyKind = 0x40000000;
/** Places of registers in `user_regs_struct`. */
const at = { r10: 7, r9: 8, r8: 9, rax: 10, rdx: 12, rsi: 13, rdi: 14, origRax: 15, rip: 16, rsp: 19 } as const;
const syscallInstruction = 0x050fn;

/** What came of it: the kernel's answer (negative for an error), or the signal that ended the process. */
export type Outcome = { readonly answer: number } | { readonly signal: number };

function ptrace(request: number, pid: number, a: number | bigint = 0, b: number | bigint = 0): void {
  callByName('ptrace', request, pid, a, b);
}

function wait(pid: number): number {
  const status = new Int32Array(1);
  checked('waitpid', waitpid(pid, status, everyKind));
  return status[0] ?? 0;
}

/** One argument: a number, or bytes that are laid on the stack and whose address is handed over. */
export type Argument = number | bigint | Buffer;

/** Lets the main thread of `pid` make the call `number`; it must be waiting in the kernel. */
export function inject(pid: number, number: number, args: readonly Argument[]): Outcome {
  ptrace(requests.seize, pid);
  try {
    ptrace(requests.interrupt, pid);
    wait(pid);
    const saved = new BigUint64Array(27);
    ptrace(requests.getRegisters, pid, 0, addressOf(saved));
    const word = new BigUint64Array(1);
    const instruction = saved[at.rip]! - 2n;
    ptrace(requests.peek, pid, instruction, addressOf(word));
    if ((word[0]! & 0xffffn) !== syscallInstruction) throw new Error('the thread does not wait in the kernel');
    const changed = saved.slice();
    let room = saved[at.rsp]! - 16_384n;
    const places = [at.rdi, at.rsi, at.rdx, at.r10, at.r8, at.r9];
    args.forEach((argument, index) => {
      let value = argument;
      if (Buffer.isBuffer(value)) {
        const bytes = Buffer.concat([value, Buffer.alloc(8)]);
        for (let i = 0; i + 8 <= bytes.length; i += 8)
          ptrace(requests.poke, pid, room + BigInt(i), bytes.readBigUInt64LE(i));
        value = room;
        room += BigInt(8 * Math.ceil(bytes.length / 8));
      }
      changed[places[index]!] = BigInt.asUintN(64, BigInt(value));
    });
    changed[at.rax] = BigInt(number);
    changed[at.origRax] = BigInt.asUintN(64, -1n);
    changed[at.rip] = instruction;
    ptrace(requests.setRegisters, pid, 0, addressOf(changed));
    ptrace(requests.step, pid);
    const status = wait(pid);
    if ((status & 0x7f) !== 0x7f) return { signal: status & 0x7f };
    const after = new BigUint64Array(27);
    ptrace(requests.getRegisters, pid, 0, addressOf(after));
    ptrace(requests.setRegisters, pid, 0, addressOf(saved));
    return { answer: Number(BigInt.asIntN(64, after[at.rax]!)) };
  } finally {
    try {
      ptrace(requests.detach, pid);
    } catch {
      // it is dead: nothing to leave
    }
  }
}

/** The same, again while the thread happens to run. */
export async function injectWhenIdle(pid: number, number: number, args: readonly Argument[]): Promise<Outcome> {
  for (let tries = 0; ; tries += 1) {
    try {
      return inject(pid, number, args);
    } catch (error) {
      if (tries === 50 || !(error instanceof Error) || !error.message.includes('does not wait')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
