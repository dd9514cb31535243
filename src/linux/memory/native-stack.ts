/**
 * The stack of native calls, below the frame of whoever calls: what a finished call left there of its own variables.
 *
 * A cipher keeps expanded keys and blocks of a text in its local variables, and which of them it overwrites depends on
 * the processor's instructions that it chose. Nothing there is needed once the call is over, so all of it is
 * overwritten.
 *
 * Promise: {@link stackBytes} below the frame of a native call are zeros afterwards, less the {@link frameBytes} next
 *          to it, which the overwriting call itself and the ones before it share.
 * Limits:  calls on this thread only, which is where keys are used; registers keep what they hold until they are used
 *          again.
 * Source:  getcontext(3), sysdeps/unix/sysv/linux/{x86_64,aarch64} of glibc: where `ucontext_t` has the stack pointer
 * Proof:   test/unit/linux/native-stack.test.ts, test/attacks/5-derive.test.ts
 * @module
 */
import { arch } from 'node:process';
import { bug } from '../../base/errors.ts';
import { checked, libc } from '../ffi.ts';
import type { Address } from './mapped-memory.ts';
import { fillMemory, mapMemory, pageBytes, viewMemory } from './mapped-memory.ts';

const getContext = libc.func('int getcontext(void *context)') as (context: Address) => number;

/** How far below a call's frame is overwritten: ciphers were seen to take 1.9 KB. */
export const stackBytes = 64 << 10;
/** Room for the frame of the overwriting call. */
export const frameBytes = 160;

/** Where `ucontext_t` holds the stack pointer. */
const pointerAt = arch === 'arm64' ? 432 : 160;
const contextBytes = 2 * pageBytes; // 4560 on arm64, 968 on x86-64
const context = mapMemory(contextBytes);
const view = viewMemory(context, contextBytes);

/** The stack pointer of a native call from here. */
export function stackPointer(): Address {
  checked('getcontext', getContext(context));
  return view.readBigUInt64LE(pointerAt);
}

const usual = stackPointer();
/** Calls from JavaScript begin at the same place but for their arguments; a callback's may begin further down. */
const farthest = 16n << 20n;

/** Overwrites what native calls of this thread have left on their stack. */
export function cleanseStack(): void {
  const pointer = stackPointer();
  if (pointer > usual + 4096n || pointer < usual - farthest + BigInt(stackBytes))
    bug('a native stack that is somewhere else');
  fillMemory(pointer - BigInt(stackBytes), stackBytes - frameBytes);
}
