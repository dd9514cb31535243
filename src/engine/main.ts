/**
 * kwyre: engine [jailed]. It touches untrusted text and native code, so it has the least rights: no network, no paths,
 * a model descriptor and two channels.
 *
 * Order: configure, check the model file, load, warm up, seal, say ready, serve. No byte of a client is read before
 * the seal. Losing a channel or a breach by a sibling ends the process.
 * @module
 */
import { getRandomValues, randomBytes } from 'node:crypto';
import { fstatSync, readSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { KwyreError } from '../base/errors.ts';
import { sealSelf } from '../layers/2-isolation/seal.ts';
import { parseGguf } from '../layers/4-model/gguf.ts';
import type { GgufFacts } from '../layers/4-model/gguf.ts';
import { openStream } from '../linux/stream.ts';
import { Channel } from '../wire/channel.ts';
import type { EngineConfig, EngineFacts } from '../wire/messages.ts';
import { controlMessages, controlSchemas, descriptors, encodeJson, parseJson } from '../wire/messages.ts';
import { Desk } from './desk.ts';
import { Llama, openLibrary } from './llama.ts';
import { RequestError } from './request.ts';
import { Scheduler } from './scheduler.ts';
import { compileTemplate } from './template.ts';
import type { Template } from './template.ts';
import { planThreads } from './threads.ts';

const exitCodes = { stopped: 0, failed: 1, breach: 70 } as const;
const bodyBytes = 32 << 20;
const batchTokens = 512;

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
      answer: (frame) => {
        const config = parseJson(controlSchemas.configureEngine, frame.payload);
        void start(config).catch((error: unknown) => {
          if (!(error instanceof KwyreError)) throw error;
          orders.send(controlMessages.failed, encodeJson({ code: error.code, message: error.message, remedy: error.remedy }));
          control.end();
        });
      },
    },
    [controlMessages.ping]: {
      permit: 'always',
      answer: (frame) => {
        orders.send(controlMessages.pong, frame.payload);
      },
    },
    [controlMessages.stop]: {
      permit: 'once',
      answer: () => {
        process.exit(exitCodes.stopped);
      },
    },
  },
  () => {
    process.exit(exitCodes.breach);
  },
);

/** Checks the header of the model file before native code sees it. */
function checkModel(): GgufFacts {
  const size = fstatSync(descriptors.model).size;
  return parseGguf((offset, length) => {
    const bytes = Buffer.allocUnsafeSlow(length);
    let filled = 0;
    while (filled < length) {
      const count = readSync(descriptors.model, bytes, filled, length - filled, offset + filled);
      if (count === 0) break;
      filled += count;
    }
    return bytes.subarray(0, filled);
  }, size);
}

/** The model's own template; without one, ChatML where the vocabulary knows it. @throws `ENGINE_TEMPLATE` */
function chatTemplate(facts: GgufFacts): Template {
  if (facts.template === '') throw new KwyreError('ENGINE_TEMPLATE', 'the model file has no chat template', 'use an instruction-tuned model whose GGUF file carries one');
  try {
    return compileTemplate(facts.template, { bos: facts.bos, eos: facts.eos });
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    throw new KwyreError('ENGINE_TEMPLATE', `the chat template of the model cannot be used: ${error.message}`, 'use another build of the model');
  }
}

async function start(config: EngineConfig): Promise<void> {
  const facts = checkModel();
  const template = chatTemplate(facts);
  const library = openLibrary(config.libraryDirectory);
  const cores = availableParallelism();
  const llama = new Llama(library, `/proc/self/fd/${descriptors.model}`, config.modelName, {
    contextTokens: config.contextTokens,
    parallel: config.parallel,
    threads: (parameters) => (config.threads === 0 ? planThreads(cores, parameters) : config.threads),
    batchTokens,
  });
  // One step before the seal: threads are made, pages are touched, and a broken model shows itself here.
  llama.add(0, 0, 0, true);
  if ((await llama.decode()) !== 0) throw new KwyreError('ENGINE_MODEL_REFUSED', `the model ${config.modelName} cannot be decoded`, 'try another GGUF file');
  llama.forget(0);

  const scheduler = new Scheduler(llama, config.parallel, () => performance.now());
  const desk = new Desk(
    {
      llama,
      scheduler,
      template,
      model: { name: config.modelName, createdSeconds: config.createdSeconds },
      turnMs: config.turnSeconds * 1000,
      bodyBytes,
      now: () => performance.now(),
      unixSeconds: () => Math.floor(Date.now() / 1000),
      randomHex: (count) => randomBytes(count / 2).toString('hex'),
      randomSeed: () => getRandomValues(new Uint32Array(1))[0] ?? 0,
    },
    () => data,
  );
  randomBytes(16); // OpenSSL opens what it needs before the seal

  const enforced = sealSelf('engine');
  const stream = openStream(
    descriptors.data,
    (chunk) => {
      data.receive(chunk);
    },
    () => {
      process.exit(exitCodes.stopped);
    },
  );
  const data: Channel = new Channel(stream, desk.table, () => {
    process.exit(exitCodes.breach);
  });
  const ready: EngineFacts = {
    pid: process.pid,
    enforced: [...enforced],
    architecture: facts.architecture,
    parameters: llama.parameters,
    contextTokens: llama.contextTokens,
    parallel: config.parallel,
    threads: llama.threads,
    engineVersion: library.version,
    backend: library.backend,
  };
  orders.send(controlMessages.ready, encodeJson(ready));
}
