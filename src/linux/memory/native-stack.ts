/**
 * Overwrites local variables that completed native calls left on the stack.
 *
 * A cipher keeps expanded keys and blocks of plaintext in local variables. Which of them it overwrites depends on the
 * instruction set that it uses.
 *
 * Promise: {@link stackBytes} below the frame of a native call are zero afterwards, except for the {@link frameBytes}
 *          next to the frame, which the overwriting call itself uses.
 * Limits:  covers only this thread, on which all keys are used; registers keep their content until they are reused.
 * Source:  getcontext(3), glibc's sysdeps/unix/sysv/linux/{x86_64,aarch64}: offset of the stack pointer in `ucontext_t`
 * Proof:   test/unit/linux/native-stack.test.ts, test/attacks/5-derive.test.ts
 * @module
 */
import { arch } from 'node:process';
import { bug } from '../../base/errors.ts';
import { checked, libc } from '../ffi.ts';
import type { Address } from './mapped-memory.ts';
import { fillMemory, mapMemory, pageBytes, viewMemory } from './mapped-memory.ts';

const getContext = libc.func('int getcontext(void *context)') as (context: Address) => number;

/** Number of bytes overwritten below a call's frame; ciphers were measured to use 1.9 KB. @internal */
export const stackBytes = 64 << 10;
/** Number of bytes left for the frame of the overwriting call. @internal */
export const frameBytes = 160;

/** Offset of the stack pointer in `ucontext_t`. */
const pointerAt = arch === 'arm64' ? 432 : 160;
const contextBytes = 2 * pageBytes; // 4560 on arm64, 968 on x86-64
const context = mapMemory(contextBytes);
const view = viewMemory(context, contextBytes);

/** Returns the stack pointer of a native call made from here. @internal */
export function stackPointer(): Address {
  checked('getcontext', getContext(context));
  return view.readBigUInt64LE(pointerAt);
}

const usual = stackPointer();
/**
 * Native calls from JavaScript start at the same stack address, except for the space their arguments take. Calls made
 * in a callback may start lower.
 */
const farthest = 16n << 20n;

/** Overwrites the native stack of this thread below the current frame. */
export function cleanseStack(): void {
  const pointer = stackPointer();
  if (pointer > usual + 4096n || pointer < usual - farthest + BigInt(stackBytes)) bug('the native stack has moved');
  fillMemory(pointer - BigInt(stackBytes), stackBytes - frameBytes);
}
