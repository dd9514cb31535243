/**
 * The checks of layer 5 for `/kwyre/status`: where the keys lie, what a conversation is between its turns, swap.
 *
 * Promise: whatever is weaker than the promise of the layer is called degraded, with the reason; what was not tried is
 *          not called enforced.
 * Proof:   test/unit/supervisor/memory-checks.test.ts
 * @module
 */
import type { Check } from '../base/verdict.ts';
import type { EngineFacts } from '../wire/control-payloads.ts';

const postures: Readonly<
  Record<EngineFacts['memory']['kv'], { readonly status: Check['status']; readonly evidence: string }>
> = {
  sealed: {
    status: 'enforced',
    evidence: 'transcript and KV cache are encrypted between turns (AES-256-GCM, a 256-bit key each)',
  },
  drop: {
    status: 'enforced',
    evidence: 'the transcript is encrypted between turns (AES-256-GCM, a 256-bit key each), the KV cache is dropped',
  },
  keep: {
    status: 'degraded',
    evidence:
      '--kv keep: what the model remembers of a conversation stays in plain memory between turns, until idle or pressure',
  },
};

const arenas: Readonly<Record<EngineFacts['memory']['arena'], Check['status']>> = {
  secret: 'enforced',
  locked: 'degraded',
  plain: 'degraded',
};

/**
 * What stands in the working set now, as this process reads it; the engines that ended in this run, and what they left.
 */
export type Remains = { readonly presentBytes: number; readonly engines: number; readonly overwrittenBytes: number };

const untried = (id: string, evidence: string, now: number): Check => ({ id, status: 'off', evidence, at: now });

const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/**
 * The check of swap. @param swaps - the text of `/proc/swaps`, a line of titles and one per area; empty where it cannot
 * be read.
 */
function swapCheck(memory: EngineFacts['memory'], swaps: string, now: number): Check {
  const areas = swaps.trim().split('\n').length - 1;
  const locked = `${mib(memory.workingLockedBytes)} of ${mib(memory.workingBytes)} of the working memory are locked; the model's own memory is not`;
  if (swaps.trim() === '')
    return { id: 'swap', status: 'degraded', evidence: `the list of swap cannot be read, and ${locked}`, at: now };
  return {
    id: 'swap',
    status: areas > 0 ? 'degraded' : 'enforced',
    evidence: areas > 0 ? `this machine swaps, and ${locked}` : 'this machine does not swap',
    at: now,
  };
}

/** What layer 5 is worth now. @param swaps - the text of `/proc/swaps`; empty where it cannot be read */
export function memoryChecks(engine: EngineFacts | undefined, swaps: string, remains: Remains, now: number): Check[] {
  if (engine === undefined)
    return [{ id: 'sealing', status: 'off', evidence: 'the engine is still starting', at: now }];
  const { memory } = engine;
  const kept =
    memory.continueSeconds > 0
      ? `a client that sends its history again finds its sealed state for ${memory.continueSeconds} s`
      : 'a request without a conversation is wiped when it ends';
  return [
    {
      id: 'keys',
      status: arenas[memory.arena],
      evidence:
        memory.arena === 'secret'
          ? `memfd_secret: no other process can read the keys, not even root's (room for ${memory.sessions})`
          : memory.reason,
      at: now,
    },
    memory.tried.sealing
      ? {
          id: 'sealing',
          status: postures[memory.kv].status,
          evidence: `${postures[memory.kv].evidence}; tried at the start: one was sealed, opened, refused when a bit of it was changed, and wiped`,
          at: now,
        }
      : untried(
          'sealing',
          'a conversation that was made up at the start could not be sealed, opened again or wiped as it must be',
          now,
        ),
    !memory.tried.idle
      ? untried('idle', 'a conversation that was made up at the start was not wiped when its time was over', now)
      : {
          id: 'idle',
          status: 'enforced',
          evidence: `tried at the start, with a clock moved on; wiped after ${memory.idleSeconds} s without use, on DELETE, ./kwyre wipe and at the end of the server; ${kept}`,
          at: now,
        },
    {
      id: 'remains',
      status: remains.presentBytes > 0 ? 'enforced' : 'degraded',
      evidence:
        remains.presentBytes > 0
          ? `the words of running turns stand in memory that the supervisor holds too (${mib(remains.presentBytes)} now) and overwrites when the engine ends (${remains.engines} ended, ${mib(remains.overwrittenBytes)} overwritten and read again)`
          : 'the engine has put nothing into the memory that the supervisor would overwrite',
      at: now,
    },
    swapCheck(memory, swaps, now),
  ];
}
