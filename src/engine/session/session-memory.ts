/**
 * The memory of conversations: the working set for plaintext, the arena for keys, and the session store that uses both.
 *
 * Promise: once `openWorkingSet` has run, all conversation plaintext is in the working set, which the supervisor
 *          overwrites after the engine has ended. Sealing is tested before the first conversation.
 * Proof:   test/attacks/5-remains.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { usePlaintextMemory } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import type { GgufFacts } from '../../layers/4-model/gguf-header.ts';
import { Fingerprinter } from '../../layers/5-memory/history-hash.ts';
import { KeyArena, arenaBytes, arenaKeys } from '../../layers/5-memory/key-arena.ts';
import { defaultSealedBytes, sessionByteLimit, defaultQuotas } from '../../layers/5-memory/quota.ts';
import { selfTestBytes, runSelfTest } from '../../layers/5-memory/self-test.ts';
import { Vault } from '../../layers/5-memory/vault.ts';
import { WorkingSet } from '../../layers/5-memory/working-set.ts';
import { randomHex, randomOwn } from '../../linux/memory/random.ts';
import type { EngineConfig, EngineFacts } from '../../wire/control-payloads.ts';
import { descriptors } from '../../wire/messages.ts';
import type { Scheduler } from '../inference/scheduler.ts';
import type { LlamaModel } from '../llama/model.ts';
import { KvStates } from './kv-states.ts';
import { PlaintextBuffer } from './plaintext-buffer.ts';
import { SessionStore } from './session-store.ts';

/** Initial size of the plaintext buffer in bytes. It grows when a state needs more. */
const firstBufferBytes = 8 << 20;

/** Maps the inherited working set and makes it the memory for all plaintext. @throws `L5_WORKING_SET` */
export function openWorkingSet(): WorkingSet {
  let bytes = 0;
  try {
    bytes = fs.fstatSync(descriptors.working).size;
  } catch {
    throw new KwyreError(
      'L5_WORKING_SET',
      'the engine was started without memory for conversations',
      'start with ./kwyre',
    );
  }
  const set = WorkingSet.open(descriptors.working, bytes);
  fs.closeSync(descriptors.working);
  usePlaintextMemory((length) => set.memory(length));
  return set;
}

/** Opens the secret memory that the jail stage created, or ordinary memory if there is none. */
function openArena(): KeyArena {
  let fd: number | undefined;
  try {
    fs.fstatSync(descriptors.secret);
    fd = descriptors.secret;
  } catch {
    fd = undefined;
  }
  const arena = KeyArena.open(fd);
  if (fd !== undefined) fs.closeSync(fd);
  return arena;
}

type SessionMemoryOptions = {
  readonly config: EngineConfig;
  readonly facts: GgufFacts;
  readonly llama: LlamaModel;
  readonly scheduler: Scheduler;
  readonly working: WorkingSet;
  /** Maximum request body size, in bytes. */
  readonly bodyBytes: number;
  /** Returns the monotonic time in milliseconds. */
  readonly now: () => number;
  readonly unixSeconds: () => number;
};

/** Creates the session store. @returns the store and the facts about its memory for the status report */
export function createSessionStore({
  config,
  facts,
  llama,
  scheduler,
  working,
  bodyBytes,
  now,
  unixSeconds,
}: SessionMemoryOptions): { sessions: SessionStore; memory: EngineFacts['memory'] } {
  const { kv, idleSeconds, continueSeconds } = config;
  const arena = openArena();
  const sealedBytes = config.sealedBytes === 0 ? defaultSealedBytes(process.availableMemory()) : config.sealedBytes;
  const quotas = {
    ...defaultQuotas,
    sealedBytes,
    bytesPerSession: sessionByteLimit(sealedBytes, facts.cacheBytesPerToken, llama.contextTokens, bodyBytes),
    idleMs: idleSeconds * 1000,
    continueMs: continueSeconds * 1000,
    sessions: Math.min(defaultQuotas.sessions, arenaKeys - 1),
  };
  const scratch = working.claim(selfTestBytes);
  const tried = runSelfTest(arena, quotas, working.address(scratch));
  working.release(scratch);
  const contextBytes = facts.cacheBytesPerToken * llama.contextTokens + (64 << 10);
  const buffer = new PlaintextBuffer(working, Math.min(firstBufferBytes, contextBytes));
  const vault = new Vault(arena, quotas, () => randomOwn(16));
  const sessions = new SessionStore({
    arena,
    vault,
    fingerprinter: new Fingerprinter(arena),
    buffer,
    states: new KvStates({ llama, scheduler, vault, buffer, posture: kv, now }),
    now,
    unixSeconds,
    randomHex,
  });
  return {
    sessions,
    memory: {
      arena: arena.kind,
      reason: arena.reason,
      arenaBytes,
      workingBytes: Math.max(working.usedBytes, working.lockedBytes + buffer.bytes),
      workingLockedBytes: working.lockedBytes + buffer.lockedBytes,
      kv,
      idleSeconds,
      continueSeconds,
      sealedBytes,
      sessions: quotas.sessions,
      tried,
    },
  };
}
