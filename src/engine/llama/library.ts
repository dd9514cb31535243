/**
 * Loads llama.cpp's shared libraries, checks their version and struct ABI, and silences their log.
 *
 * Promise: a library with a different version or struct ABI is rejected before a struct is passed to it. Only the given
 *          paths are opened; no folder is searched.
 * Limits:  CPU only. The log is discarded because it may quote conversation text. The only exception is
 *          `explainLoadError`, which reads it for a model that did not load, before any conversation.
 * Source:  `include/llama.h`, `ggml/include/ggml-backend.h` of llama.cpp v0.5.0
 * Proof:   test/unit/engine/model.test.ts, test/e2e/openai.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';
import { ffi, libc } from '../../linux/ffi.ts';
import { expectedDefaults, llamaVersion, structSizes } from './abi.ts';
import type { Calls, LibraryFiles, Pointer } from './bindings.ts';
import { addressOf, bindLlama } from './bindings.ts';

/** Selects the libraries from `paths` by file name. */
export function libraryFiles(paths: ReadonlyMap<string, string>): LibraryFiles {
  const find = (pattern: RegExp): string[] => [...paths].filter(([file]) => pattern.test(file)).map(([, path]) => path);
  return {
    base: find(/^libggml-base\.so$/)[0] ?? '',
    ggml: find(/^libggml\.v0\.5\.0\.so$/)[0] ?? '',
    llama: find(/^libllama\.v0\.5\.0\.so$/)[0] ?? '',
    variants: find(/^libggml-cpu[\w.-]*\.so$/),
  };
}

/** Returns the address of a libc function, for use as a callback in native code. */
const functionOf = (name: string): Pointer => libc.symbol(name) as Pointer;

/** llama.cpp, loaded and checked. */
export type Library = {
  readonly calls: Calls;
  readonly version: string;
  readonly backend: string;
  /** Creates a thread pool that lasts as long as the process. @returns `undefined` for one thread */
  readonly createThreadPool: (threads: number, poll: number) => Pointer | undefined;
  /** libc's `atoi` as the abort callback. Its data is the text "0" or "1", so ggml's threads never call JavaScript. */
  readonly abortCallback: Pointer;
  /** Loads a model again on another thread. @returns the errors that llama.cpp logged */
  readonly explainLoadError: (paths: readonly string[], params: object) => Promise<string>;
};

const abiMismatch = () =>
  new KwyreError(
    'ENGINE_ABI_MISMATCH',
    `the installed llama.cpp is not version ${llamaVersion}, which Kwyre requires`,
    'reinstall Kwyre with npm ci --ignore-scripts',
  );

function bind(files: LibraryFiles): Calls {
  try {
    return bindLlama(files);
  } catch {
    // A file or a symbol is missing; the loader's message would not help.
    throw abiMismatch();
  }
}

function checkAbi(calls: Calls): void {
  const differs = (defaults: Record<string, unknown>, expected: Readonly<Record<string, unknown>>) =>
    Object.entries(expected).some(([key, value]) => defaults[key] !== value);
  const sizes = Object.entries(structSizes).some(([, { type, size }]) => ffi.sizeof(type) !== size);
  if (sizes || calls.version() !== llamaVersion) throw abiMismatch();
  if (
    differs(calls.modelDefaults(), expectedDefaults.modelParams) ||
    differs(calls.contextDefaults(), expectedDefaults.contextParams)
  )
    throw abiMismatch();
}

/** Size of `struct ggml_threadpool_params` and offset of its `poll`, in bytes. */
const threadPoolParams = { size: 528, poll: 520 } as const;

/** Returns the score that a CPU variant reports for this processor; 0 if the variant cannot run on it. */
function scoreOf(path: string): number {
  let library: ReturnType<typeof ffi.load>;
  try {
    library = ffi.load(path);
  } catch {
    return 0;
  }
  try {
    return (library.func('int ggml_backend_score()') as () => number)();
  } catch {
    return 0; // not a CPU variant
  } finally {
    library.unload();
  }
}

/** Returns the CPU variant with the highest score. */
function bestVariant(files: LibraryFiles): string | undefined {
  const scored = files.variants.map((path) => ({ path, score: scoreOf(path) })).filter(({ score }) => score > 0);
  return scored.sort((a, b) => b.score - a.score)[0]?.path;
}

/**
 * Loads llama.cpp and the best CPU variant.
 * @throws `ENGINE_ABI_MISMATCH`, `ENGINE_BACKEND_MISSING`
 */
export function openLibrary(files: LibraryFiles): Library {
  const calls = bind(files);
  checkAbi(calls);
  // getpid ignores its arguments. A JavaScript function cannot be called from ggml's threads.
  const silent = functionOf('getpid');
  calls.logSet(silent, null);
  const variant = bestVariant(files);
  if (variant !== undefined) calls.loadBackend(variant);
  const devices = Array.from({ length: calls.deviceCount() }, (_, index) => calls.deviceGet(index));
  const [device] = devices;
  if (device === undefined)
    throw new KwyreError(
      'ENGINE_BACKEND_MISSING',
      'no CPU variant of llama.cpp runs on this processor',
      'Kwyre needs a 64-bit x86 or ARM processor; if you have one, reinstall with npm ci --ignore-scripts',
    );
  calls.backendInit();

  return {
    calls,
    version: calls.version(),
    backend: devices.map((entry) => calls.deviceName(entry)).join(' '),
    abortCallback: functionOf('atoi'),
    createThreadPool(threads, poll) {
      const create = threads > 1 ? calls.registryFunction(calls.deviceRegistry(device), 'ggml_threadpool_new') : null;
      if (create === null) return undefined;
      const params = Buffer.from(new ArrayBuffer(threadPoolParams.size));
      calls.poolDefaults(addressOf(params), threads);
      params.writeUInt32LE(poll, threadPoolParams.poll);
      return (ffi.call(create, threadPoolNew, addressOf(params)) as Pointer | null) ?? undefined;
    },
    async explainLoadError(paths, params) {
      let text = '';
      const errorLevel = 4;
      const onLog = ffi.register((level: number, line: string) => {
        if (level === errorLevel && text.length < 4096) text += line;
      }, ffi.pointer(logLine));
      calls.logSet(onLog, null);
      try {
        const { promise, resolve } = Promise.withResolvers<undefined>();
        calls.modelLoad.async(paths, paths.length, params, (_error, model) => {
          if (typeof model === 'bigint') calls.modelFree(model);
          resolve(undefined);
        });
        await promise;
      } finally {
        calls.logSet(silent, null);
        ffi.unregister(onLog);
      }
      return text;
    },
  };
}

const threadPoolNew = ffi.proto('void *kwyre_pool_new(void *params)');
const logLine = ffi.proto('void kwyre_log(int level, const char *text, void *data)');
