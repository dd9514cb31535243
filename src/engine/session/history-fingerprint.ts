/**
 * The traces of a request's messages: how a client that sends its whole history again is recognised.
 *
 * Promise: traces are keyed hashes in memory of their own; every one that nobody keeps is overwritten.
 * Proof:   test/e2e/sessions.test.ts
 * @module
 */
import { constantBytes } from '../../base/bytes.ts';
import type { Trace, Tracer } from '../../layers/5-memory/history-hash.ts';
import type { Message } from '../types.ts';
import { roleOrder } from './transcript.ts';

const lineFeed = constantBytes('\n');

/** Several parts are read as lines of one text, here as in the prompt. */
function piecesOf(message: Message): Buffer[] {
  return message.parts.flatMap((part, index) => (index > 0 ? [lineFeed, part] : [part]));
}

/** The trace after one more message. */
export function traceAfter(tracer: Tracer, before: Trace, message: Message): Trace {
  return tracer.next(before, roleOrder.indexOf(message.role), piecesOf(message));
}

/** The traces after each message, the last one first; the caller overwrites them. */
export function tracesOf(tracer: Tracer, principal: Buffer, messages: readonly Message[]): Trace[] {
  const traces: Trace[] = [];
  let last = tracer.begin(principal);
  const beginning = last;
  for (const message of messages) {
    last = traceAfter(tracer, last, message);
    traces.unshift(last);
  }
  beginning.fill(0);
  return traces;
}

/** Overwrites traces. */
export function wipeTraces(traces: readonly Trace[]): void {
  for (const trace of traces) trace.fill(0);
}
