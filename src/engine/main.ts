/**
 * kwyre: engine [jailed]. It touches untrusted text and native code, so it has the least rights: no network, no paths,
 * a model descriptor and two channels.
 *
 * Order: configure, check the model file, load, warm up, seal, say ready, serve. No byte of a client is read before
 * the seal. Losing a channel or a breach by a sibling ends the process.
 * @module
 */
import * as fs from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { usePlaintextMemory } from '../base/bytes.ts';
import { KwyreError } from '../base/errors.ts';
import { applyFinalFilter } from '../layers/2-isolation/jail/final-filter.ts';
import { loadListDescriptor, readLoadList } from '../layers/3-dependencies/load-list.ts';
import { parseParts } from '../layers/4-model/gguf-header.ts';
import type { GgufFacts, PartReader } from '../layers/4-model/gguf-header.ts';
import { KeyArena, arenaBytes, arenaKeys } from '../layers/5-memory/key-arena.ts';
import { defaultSealedBytes, sessionByteLimit, defaultQuotas } from '../layers/5-memory/quota.ts';
import { selfTestBytes, runSelfTest } from '../layers/5-memory/self-test.ts';
import { Fingerprinter } from '../layers/5-memory/history-hash.ts';
import { Vault } from '../layers/5-memory/vault.ts';
import { WorkingSet } from '../layers/5-memory/working-set.ts';
import { monotonicMs } from '../linux/clocks.ts';
import { randomHex, randomOwn } from '../linux/memory/random.ts';
import { openStream } from '../linux/sockets/inherited-stream.ts';
import { compileTemplate } from '../template/template.ts';
import type { Template } from '../template/template.ts';
import { Channel } from '../wire/channel.ts';
import type { EngineConfig, EngineFacts } from '../wire/control-payloads.ts';
import { Lifeline, lifelineExit } from '../wire/lifeline.ts';
import { controlSchemas, encodeJson, encodeEnginePong, parseJson } from '../wire/control-payloads.ts';
import { controlMessages, descriptors } from '../wire/messages.ts';
import { suitsFlashAttention } from './llama/flash-attention.ts';
import { Dispatcher } from './api/dispatcher.ts';
import { SessionStore } from './session/session-store.ts';
import type { Library } from './llama/library.ts';
import { libraryFiles, openLibrary } from './llama/library.ts';
import type { ContextShape } from './llama/model.ts';
import { LlamaModel } from './llama/model.ts';
import { Scheduler } from './inference/scheduler.ts';
import { physicalCores, threadPlan } from './llama/cpu-plan.ts';
import { PromptTokenizer } from './llama/prompt-tokenizer.ts';
import { PlaintextBuffer } from './session/plaintext-buffer.ts';

const exitCodes = { stopped: 0, failed: 1, breach: 70 } as const;
const bodyBytes = 32 << 20;
const batchTokens = 512;
/** Tokens of a conversation when nobody asks for another number; longer ones cost memory from the start. */
const usualContext = 4096;

process.title = 'kwyre: engine [jailed]';
process.exitCode = exitCodes.failed;

const control = openStream(
  descriptors.control,
  (chunk) => {
    orders.receive(chunk);
  },
  () => {
    process.exit(exitCodes.stopped);
  },
);
const orders = new Channel(
  control,
  {
    [controlMessages.configure]: {
      permit: 'once',
      handle: (frame) => {
        const config = parseJson(controlSchemas.configureEngine, frame.payload);
        void start(config).catch((error: unknown) => {
          if (!(error instanceof KwyreError)) throw error;
          orders.send(
            controlMessages.failed,
            encodeJson({ code: error.code, message: error.message, remedy: error.remedy }),
          );
          control.end();
        });
      },
    },
    [controlMessages.ping]: {
      permit: 'always',
      handle: (frame) => {
        lifeline.onPing(parseJson(controlSchemas.ping, frame.payload).at);
        orders.send(controlMessages.pong, encodeEnginePong({ dueMs: keeper?.dueInMs(turnMs) }), frame.stream);
      },
    },
    [controlMessages.pause]: {
      permit: 'always',
      handle: () => {
        desk?.cut();
      },
    },
    [controlMessages.stop]: {
      permit: 'once',
      handle: () => {
        process.exit(exitCodes.stopped);
      },
    },
  },
  () => {
    process.exit(exitCodes.breach);
  },
);

const lifeline = new Lifeline({
  now: monotonicMs,
  afterReading: (then) => setTimeout(setImmediate, 0, then),
  onLate: (ms, cut) => {
    orders.send(controlMessages.late, encodeJson({ ms, cut }));
  },
  onPaused: () => {
    desk?.cut();
  },
  onLost: () => {
    process.exit(lifelineExit);
  },
});
/** How often idle conversations are looked for. */
const tickMs = 1000;
/** PlaintextBuffer memory that is made at the start; more is made when a state needs it. */
const firstWorkBytes = 8 << 20;

let keeper: SessionStore | undefined;
let desk: Dispatcher | undefined;
let turnMs = 0;
// Every way out goes through here: an order, a signal, a lost channel, a breach, an uncaught error.
process.on('exit', () => {
  keeper?.close();
});
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) {
  process.on(signal, () => {
    process.exit(exitCodes.stopped);
  });
}

/** Takes the secret memory that the jail stage made. */
function openArena(): KeyArena {
  let fd: number | undefined;
  try {
    fs.fstatSync(descriptors.secret);
    fd = descriptors.secret;
  } catch {
    fd = undefined; // none was made
  }
  const arena = KeyArena.open(fd);
  if (fd !== undefined) fs.closeSync(fd);
  return arena;
}

/** Takes the memory that the supervisor shares: from here on all words stand in it. @throws `L5_WORKING_SET` */
function openWorkingSet(): WorkingSet {
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

/** The vault of this start and what works with it. */
function makeKeeper(
  config: EngineConfig,
  facts: GgufFacts,
  llama: LlamaModel,
  scheduler: Scheduler,
  working: WorkingSet,
): { keeper: SessionStore; memory: EngineFacts['memory'] } {
  const arena = openArena();
  const sealedBytes = config.sealedBytes === 0 ? defaultSealedBytes(process.availableMemory()) : config.sealedBytes;
  const quotas = {
    ...defaultQuotas,
    sealedBytes,
    bytesPerSession: sessionByteLimit(sealedBytes, facts.cacheBytesPerToken, llama.contextTokens, bodyBytes),
    idleMs: config.idleSeconds * 1000,
    continueMs: config.continueSeconds * 1000,
    sessions: Math.min(defaultQuotas.sessions, arenaKeys - 1),
  };
  const room = working.claim(selfTestBytes);
  const tried = runSelfTest(arena, quotas, working.address(room));
  working.release(room);
  const work = new PlaintextBuffer(
    working,
    Math.min(firstWorkBytes, facts.cacheBytesPerToken * llama.contextTokens + (64 << 10)),
  );
  const made = new SessionStore({
    llama,
    scheduler,
    arena,
    vault: new Vault(arena, quotas, () => randomOwn(16)),
    fingerprinter: new Fingerprinter(arena),
    work,
    kv: config.kv,
    now: () => performance.now(),
    unixSeconds: () => Math.floor(Date.now() / 1000),
    randomHex,
  });
  const { kv, idleSeconds, continueSeconds } = config;
  return {
    keeper: made,
    memory: {
      arena: arena.kind,
      reason: arena.reason,
      arenaBytes,
      workingBytes: Math.max(working.usedBytes, working.lockedBytes + work.bytes),
      workingLockedBytes: working.lockedBytes + work.lockedBytes,
      kv,
      idleSeconds,
      continueSeconds,
      sealedBytes,
      sessions: quotas.sessions,
      tried,
    },
  };
}

/** Descriptors of the model's files, in order. */
function modelDescriptors(config: EngineConfig): number[] {
  return Array.from({ length: config.modelFiles }, (_, index) =>
    index === 0 ? descriptors.model : descriptors.parts + index - 1,
  );
}

/** Checks the headers of the model's files before native code sees them. */
function checkModel(config: EngineConfig): GgufFacts {
  const parts = modelDescriptors(config).map((fd): PartReader => ({
    size: fs.fstatSync(fd).size,
    readAt(offset, length) {
      const bytes = Buffer.allocUnsafeSlow(length);
      let filled = 0;
      while (filled < length) {
        const count = fs.readSync(fd, bytes, filled, length - filled, offset + filled);
        if (count === 0) break;
        filled += count;
      }
      return bytes.subarray(0, filled);
    },
  }));
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (size !== config.modelBytes)
    throw new KwyreError(
      'L4_MODEL_CHANGED',
      `the file of the model ${config.modelName} is not as long as the one that was checked`,
      'start again; if it stays so, verify the model',
    );
  return parseParts(parts);
}

/** The model's own template. @throws `ENGINE_TEMPLATE` */
function chatTemplate(facts: GgufFacts): Template {
  if (facts.template === '')
    throw new KwyreError(
      'ENGINE_TEMPLATE',
      'the model file has no chat template',
      'use an instruction-tuned model whose GGUF file carries one',
    );
  try {
    return compileTemplate(facts.template, { bos: facts.bos, eos: facts.eos });
  } catch (error) {
    if (!(error instanceof KwyreError)) throw error;
    throw new KwyreError(
      'ENGINE_TEMPLATE',
      `the chat template of the model cannot be used: ${error.message}`,
      'use another build of the model',
    );
  }
}

/** How the context is laid out. @throws `ENGINE_MEMORY` before the kernel has to kill someone */
function contextShape(config: EngineConfig, facts: GgufFacts): ContextShape {
  const contextTokens = Math.min(config.contextTokens === 0 ? usualContext : config.contextTokens, facts.contextTokens);
  const cacheBytes = facts.cacheBytesPerToken * contextTokens * config.parallel;
  const available = process.availableMemory();
  if (cacheBytes > available) {
    const mib = (bytes: number) => Math.ceil(bytes / 2 ** 20);
    throw new KwyreError(
      'ENGINE_MEMORY',
      `${config.parallel} conversations of ${contextTokens} tokens need ${mib(cacheBytes)} MiB, and ${mib(available)} MiB are free`,
      'start with a smaller --ctx or --parallel',
    );
  }
  return {
    contextTokens,
    parallel: config.parallel,
    threads: config.threads === 0 ? threadPlan(cores(), facts.parameters) : config.threads,
    batchTokens: Math.max(config.parallel, Math.min(batchTokens, contextTokens)),
    flashAttention: suitsFlashAttention(facts),
  };
}

function cores(): number {
  const folder = '/sys/devices/system/cpu';
  let siblings: string[] = [];
  try {
    siblings = fs
      .readdirSync(folder)
      .filter((name) => /^cpu\d+$/.test(name))
      .map((name) => fs.readFileSync(`${folder}/${name}/topology/thread_siblings_list`, 'latin1'));
  } catch {
    // Not told here: every logical core counts.
  }
  return physicalCores(siblings, availableParallelism());
}

/**
 * Loads llama.cpp from the sealed memory that was handed over, whose descriptors are closed then. @throws what
 * `openLibrary` throws
 */
function openLlama(): Library {
  const handed = [...readLoadList(loadListDescriptor).natives].slice(1);
  const library = openLibrary(
    libraryFiles(new Map(handed.map(([name, fd]) => [basename(name), `/proc/self/fd/${fd}`]))),
  );
  for (const [, fd] of handed) fs.closeSync(fd);
  return library;
}

async function start(config: EngineConfig): Promise<void> {
  turnMs = config.turnSeconds * 1000;
  const working = openWorkingSet();
  const facts = checkModel(config);
  const template = chatTemplate(facts);
  const library = openLlama();
  const llama = await LlamaModel.open(
    library,
    modelDescriptors(config).map((fd) => `/proc/self/fd/${fd}`),
    config.modelName,
    contextShape(config, facts),
  );
  // One step before the seal: threads are made, pages are touched, and a broken model shows itself here.
  llama.batch.add(0, 0, 0, true);
  if ((await llama.decode()) !== 'done')
    throw new KwyreError(
      'ENGINE_MODEL_REFUSED',
      `the model ${config.modelName} cannot be decoded`,
      'try another GGUF file',
    );
  llama.erase();

  const after = (ms: number, wake: () => void) => {
    const timer = setTimeout(wake, ms);
    return () => {
      clearTimeout(timer);
    };
  };
  const now = () => performance.now();
  const scheduler = new Scheduler(llama, { now, after, next: setImmediate });
  const kept = makeKeeper(config, facts, llama, scheduler, working);
  keeper = kept.keeper;
  const served = new Dispatcher(
    {
      llama,
      vocabulary: new PromptTokenizer(llama),
      scheduler,
      template,
      keeper,
      model: { name: config.modelName, createdSeconds: config.createdSeconds },
      turnMs,
      bodyBytes,
      now,
      unixSeconds: () => Math.floor(Date.now() / 1000),
      randomHex,
      randomSeed: () => randomOwn(4).readUInt32LE(0),
    },
    () => data,
  );
  desk = served;

  setInterval(() => {
    kept.keeper.tick();
  }, tickMs);

  const enforced = applyFinalFilter('engine');
  const stream = openStream(
    descriptors.data,
    (chunk) => {
      data.receive(chunk);
    },
    () => {
      process.exit(exitCodes.stopped);
    },
  );
  const data: Channel = new Channel(stream, served.table, () => {
    process.exit(exitCodes.breach);
  });
  const ready: EngineFacts = {
    pid: process.pid,
    enforced: [...enforced],
    architecture: facts.architecture,
    parameters: facts.parameters,
    contextTokens: llama.contextTokens,
    parallel: config.parallel,
    threads: llama.threads,
    engineVersion: library.version,
    backend: library.backend,
    memory: kept.memory,
  };
  orders.send(controlMessages.ready, encodeJson(ready));
}
