/**
 * Layer 5's report: core dumps, where the keys are, how a conversation is kept between its turns, and swap.
 *
 * Promise: whatever is weaker than the layer's promise is reported as degraded, with the reason. Nothing untested is
 *          reported as enforced.
 * Proof:   test/unit/layers/layer-status.test.ts
 * @module
 */
import type { Check, Enforcement, LayerReport, LayerStatus } from '../../base/verdict.ts';
import { layerReport } from '../../base/verdict.ts';
import type { ArenaKind } from './key-arena.ts';
import type { SelfTestResult } from './self-test.ts';

/** The facts that the engine reported about its memory when it became ready. @internal */
export type EngineMemory = {
  readonly arena: ArenaKind;
  /** Why the arena is not secret; empty if it is. */
  readonly reason: string;
  /** Bytes of the working set: the total used, and how many of these are locked against swap. */
  readonly workingBytes: number;
  readonly workingLockedBytes: number;
  readonly kv: 'sealed' | 'drop' | 'keep';
  readonly idleSeconds: number;
  readonly continueSeconds: number;
  /** Maximum number of conversations that the engine keeps. */
  readonly sessions: number;
  readonly tried: SelfTestResult;
};

/** The facts that the supervisor observed for this report. */
type MemoryFacts = {
  /** `undefined` while the engine starts. */
  readonly engine: EngineMemory | undefined;
  readonly enforced: Readonly<Record<'gateway' | 'engine', readonly Enforcement[]>>;
  /** Text of `/proc/swaps`: a header line, and a line per swap area; empty if it cannot be read. */
  readonly swaps: string;
  /** Number of bytes in the working set that have content now. */
  readonly presentBytes: number;
  /** Number of engines that ended in this run, and number of bytes overwritten after they ended. */
  readonly endedEngines: number;
  readonly overwrittenBytes: number;
};

type Verdict = Pick<Check, 'status' | 'evidence'>;

const kvVerdicts: Readonly<Record<EngineMemory['kv'], Verdict>> = {
  sealed: {
    status: 'enforced',
    evidence: 'transcript and KV cache are encrypted between turns (AES-256-GCM, a 256-bit key per conversation)',
  },
  drop: {
    status: 'enforced',
    evidence:
      'the transcript is encrypted between turns (AES-256-GCM, a 256-bit key per conversation); ' +
      'the KV cache is dropped',
  },
  keep: {
    status: 'degraded',
    evidence:
      '--kv keep: the KV cache stays unencrypted in memory between turns, until the idle time is over or it is evicted',
  },
};

const arenaStatus: Readonly<Record<ArenaKind, LayerStatus>> = {
  secret: 'enforced',
  locked: 'degraded',
  plain: 'degraded',
};

const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function coreDumpChecks({ enforced }: MemoryFacts): Check[] {
  return (['gateway', 'engine'] as const).map((role) => {
    const limit = enforced[role].find((entry) => entry.feature === 'core-limit');
    return {
      id: `${role}.no-core-dump`,
      status: limit?.status === 'full' ? 'enforced' : 'degraded',
      evidence: limit?.observed ?? 'not reported',
      at: Date.now(),
    };
  });
}

function keyCheck({ arena, reason, sessions }: EngineMemory): Check {
  return {
    id: 'keys',
    status: arenaStatus[arena],
    evidence:
      arena === 'secret'
        ? `memfd_secret: no other process can read the keys, not even root's (room for ${sessions} conversations)`
        : reason,
    at: Date.now(),
  };
}

function sealingCheck({ kv, tried }: EngineMemory): Check {
  return {
    id: 'sealing',
    status: tried.sealing ? kvVerdicts[kv].status : 'off',
    evidence: tried.sealing
      ? `${kvVerdicts[kv].evidence}; tested at the start: a conversation was encrypted and decrypted, ` +
        'one changed bit was detected, and a wipe overwrote the conversation'
      : 'the test at the start failed: a conversation could not be encrypted, decrypted or wiped as promised',
    at: Date.now(),
  };
}

function idleCheck({ idleSeconds, continueSeconds, tried }: EngineMemory): Check {
  const resent =
    continueSeconds > 0
      ? `the state for a client that resends its history is kept for ${continueSeconds} s`
      : 'a request without a conversation id is wiped when it ends';
  return {
    id: 'idle',
    status: tried.idle ? 'enforced' : 'off',
    evidence: tried.idle
      ? `conversations are wiped after ${idleSeconds} s without use, by DELETE, by ./kwyre wipe and when the server ` +
        `ends (tested at the start, with a simulated clock); ${resent}`
      : 'the test at the start failed: an idle conversation was not wiped in time',
    at: Date.now(),
  };
}

function workingSetCheck({ presentBytes, endedEngines, overwrittenBytes }: MemoryFacts): Check {
  return {
    id: 'remains',
    status: presentBytes > 0 ? 'enforced' : 'degraded',
    evidence:
      presentBytes > 0
        ? `the text of running turns is in memory that the supervisor shares (${mib(presentBytes)} now) and ` +
          `overwrites when the engine ends (so far ${endedEngines} ended, ` +
          `${mib(overwrittenBytes)} overwritten and verified)`
        : 'the engine keeps nothing in the memory that the supervisor overwrites',
    at: Date.now(),
  };
}

function swapCheck({ workingLockedBytes, workingBytes }: EngineMemory, swaps: string): Check {
  const id = 'swap';
  const at = Date.now();
  const locked =
    `${mib(workingLockedBytes)} of ${mib(workingBytes)} of the working set are locked; ` +
    "llama.cpp's own memory is not";
  if (swaps.trim() === '') return { id, status: 'degraded', evidence: `/proc/swaps cannot be read, and ${locked}`, at };
  const isOn = swaps.trim().split('\n').length > 1;
  return {
    id,
    status: isOn ? 'degraded' : 'enforced',
    evidence: isOn ? `swap is on, and ${locked}` : 'swap is off',
    at,
  };
}

/** Returns the report of layer 5. */
export function memoryReport(facts: MemoryFacts): LayerReport {
  const { engine, swaps } = facts;
  const checks =
    engine === undefined
      ? [{ id: 'sealing', status: 'off' as const, evidence: 'the engine is still starting', at: Date.now() }]
      : [keyCheck(engine), sealingCheck(engine), idleCheck(engine), workingSetCheck(facts), swapCheck(engine, swaps)];
  return layerReport(5, [...coreDumpChecks(facts), ...checks]);
}
