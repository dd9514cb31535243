/**
 * kwyre: engine [jailed]. It handles untrusted text and runs native code, so it has the fewest rights: a model
 * descriptor and two channels, but no network and no access to paths.
 *
 * Startup sequence: receive the configuration, check the model's header, load, warm up, install the final filter,
 * report ready, serve. No client byte is read before the filter is installed. The process ends when a channel closes or
 * a peer breaks the protocol.
 * @module
 */
import { KwyreError } from '../base/errors.ts';
import { applyFinalFilter } from '../layers/2-isolation/jail/final-filter.ts';
import { monotonicMs } from '../linux/clocks.ts';
import { randomHex, randomOwn } from '../linux/memory/random.ts';
import { openStream } from '../linux/sockets/inherited-stream.ts';
import { Channel } from '../wire/channel.ts';
import type { EngineConfig, EngineFacts } from '../wire/control-payloads.ts';
import { controlSchemas, encodeEnginePong, encodeJson, parseJson } from '../wire/control-payloads.ts';
import { Lifeline, lifelineExit } from '../wire/lifeline.ts';
import { controlMessages, descriptors } from '../wire/messages.ts';
import { Dispatcher } from './api/dispatcher.ts';
import { Scheduler } from './inference/scheduler.ts';
import {
  chatTemplate,
  contextShape,
  modelDescriptors,
  openInheritedLibrary,
  readModelFacts,
} from './llama/model-files.ts';
import { LlamaModel } from './llama/model.ts';
import { PromptTokenizer } from './llama/prompt-tokenizer.ts';
import { createSessionStore, openWorkingSet } from './session/session-memory.ts';
import type { SessionStore } from './session/session-store.ts';

const exitCodes = { stopped: 0, failed: 1, breach: 70 } as const;
/** Maximum request body size, in bytes. */
const bodyBytes = 32 << 20;
/** Interval between checks for idle conversations to wipe, in milliseconds. */
const reapMs = 1000;

process.title = 'kwyre: engine [jailed]';
process.exitCode = exitCodes.failed;

const exitStopped = () => {
  process.exit(exitCodes.stopped);
};
const exitOnBreach = () => {
  process.exit(exitCodes.breach);
};

let sessions: SessionStore | undefined;
let dispatcher: Dispatcher | undefined;
let turnMs = 0;

const control = openStream(
  descriptors.control,
  (chunk) => {
    supervisor.receive(chunk);
  },
  exitStopped,
);
const supervisor = new Channel(
  control,
  {
    [controlMessages.configure]: {
      permit: 'once',
      handle: (frame) => {
        void start(parseJson(controlSchemas.configureEngine, frame.payload)).catch((error: unknown) => {
          if (!(error instanceof KwyreError)) throw error;
          const { code, message, remedy } = error;
          supervisor.send(controlMessages.failed, encodeJson({ code, message, remedy }));
          control.end();
        });
      },
    },
    [controlMessages.ping]: {
      permit: 'always',
      handle: (frame) => {
        lifeline.onPing(parseJson(controlSchemas.ping, frame.payload).at);
        supervisor.send(controlMessages.pong, encodeEnginePong({ dueMs: sessions?.dueInMs(turnMs) }), frame.stream);
      },
    },
    [controlMessages.pause]: {
      permit: 'always',
      handle: () => {
        dispatcher?.abortAll();
      },
    },
    [controlMessages.stop]: { permit: 'once', handle: exitStopped },
  },
  exitOnBreach,
);

const lifeline = new Lifeline({
  now: monotonicMs,
  afterReading: (then) => setTimeout(setImmediate, 0, then),
  onLate: (ms, cut) => {
    supervisor.send(controlMessages.late, encodeJson({ ms, cut }));
  },
  onPaused: () => {
    dispatcher?.abortAll();
  },
  onLost: () => {
    process.exit(lifelineExit);
  },
});

// Runs on every exit, whether after a stop message, a signal, a closed channel, a breach or an uncaught error.
process.on('exit', () => {
  sessions?.close();
});
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, exitStopped);

const now = () => performance.now();
const unixSeconds = () => Math.floor(Date.now() / 1000);

/** Calls `wake` once after `ms` milliseconds. @returns a function that cancels it */
function after(ms: number, wake: () => void): () => void {
  const timer = setTimeout(wake, ms);
  return () => {
    clearTimeout(timer);
  };
}

/** Decodes one token before the final filter is installed, to create threads, touch pages and detect bad models. */
async function warmUp(llama: LlamaModel, modelName: string): Promise<void> {
  llama.batch.add(0, 0, 0, true);
  if ((await llama.decode()) !== 'done')
    throw new KwyreError(
      'ENGINE_MODEL_REFUSED',
      `llama.cpp cannot decode a token with the model ${modelName}`,
      'use another GGUF file',
    );
  llama.erase();
}

async function start(config: EngineConfig): Promise<void> {
  turnMs = config.turnSeconds * 1000;
  const working = openWorkingSet();
  const facts = readModelFacts(config);
  const template = chatTemplate(facts);
  const library = openInheritedLibrary();
  const paths = modelDescriptors(config.modelFiles).map((fd) => `/proc/self/fd/${fd}`);
  const llama = await LlamaModel.open(library, paths, config.modelName, contextShape(config, facts));
  await warmUp(llama, config.modelName);

  const scheduler = new Scheduler(llama, { now, after, next: setImmediate });
  const store = createSessionStore({ config, facts, llama, scheduler, working, bodyBytes, now, unixSeconds });
  sessions = store.sessions;
  dispatcher = new Dispatcher({
    channel: () => gateway,
    llama,
    tokenizer: new PromptTokenizer(llama),
    scheduler,
    template,
    sessions,
    model: { name: config.modelName, createdSeconds: config.createdSeconds },
    turnMs,
    bodyBytes,
    now,
    unixSeconds,
    randomHex,
    randomSeed: () => randomOwn(4).readUInt32LE(0),
  });
  setInterval(() => {
    store.sessions.reap();
  }, reapMs);

  const enforced = applyFinalFilter('engine');
  const data = openStream(
    descriptors.data,
    (chunk) => {
      gateway.receive(chunk);
    },
    exitStopped,
  );
  const gateway: Channel = new Channel(data, dispatcher.table, exitOnBreach);
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
    memory: store.memory,
  };
  supervisor.send(controlMessages.ready, encodeJson(ready));
}
