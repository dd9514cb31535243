/**
 * kwyre: supervisor [monitor]. Order of start, the children's lives, and their end; it parses no byte from the network.
 *
 * Promise: every way out (SIGTERM, SIGINT, SIGHUP, an uncaught error, its own death) ends every child. A death by
 *          SIGSYS or a breach of the wire ends everything with exit code 16; a crash of the engine is answered by a
 *          fresh pair, at most three times an hour.
 * Proof:   test/e2e/lifecycle.test.ts
 * @module
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseServe } from '../base/config.ts';
import type { Config } from '../base/config.ts';
import { KwyreError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { chooseIdentity } from '../layers/2-isolation/identity.ts';
import { bindLoopback, bindUnix, holdIpv6 } from '../layers/1-loopback/bind.ts';
import { lockFile } from '../linux/lock.ts';
import { defaultStateDirectory, openState } from '../state/directory.ts';
import { logEvent } from '../state/events.ts';
import { removePresence, writePresence } from '../state/presence.ts';
import { digestToken, makeToken, namedTokensStamp, principalOf, readNamedTokens, removeToken, tokenFiles, writeToken } from '../state/tokens.ts';
import { controlMessages, encodeJson } from '../wire/messages.ts';
import type { EngineFacts, TokenDigest } from '../wire/messages.ts';
import { welcome } from './banner.ts';
import type { JailInput } from './children.ts';
import * as fs from 'node:fs';
import { openApprovedModel } from './approval.ts';
import { mappedFaults } from '../layers/3-dependencies/hook.ts';
import type { VerifiedTree } from '../layers/3-dependencies/verify.ts';
import { DifferenceError } from '../oms/fault.ts';
import type { PairEnding } from './pair.ts';
import { Pair } from './pair.ts';
import { RestartBudget, restartLimit } from './restarts.ts';
import { reportLayers } from './status.ts';

const root = join(import.meta.dirname, '..', '..');
const graceMs = 800;
const tokenPollMs = 500;

/** What a server owns from its start to its end. */
async function serve(config: Config, tree: VerifiedTree): Promise<number> {
  const startedAt = Date.now();
  const startedNs = process.hrtime.bigint();
  const state = openState(config.state ?? defaultStateDirectory(process.env));
  if (!lockFile(join(state, 'lock'))) throw new KwyreError('STATE_IN_USE', `a server runs already with the state folder ${state}`, './kwyre status shows it; another one needs another --state DIR and --port');
  const model = await openApprovedModel({ wanted: config.model, root, state, weights: config.weights });
  const listener = bindLoopback(config.port);
  const heldIpv6 = holdIpv6(listener.port);
  const unix = config.socketPath === undefined ? undefined : bindUnix(config.socketPath);

  const token = makeToken();
  const person = digestToken(token);
  let named = readNamedTokens(state);
  const digests = (): TokenDigest[] => [person, ...named.map((entry) => entry.digest)].map((digest) => ({ digest, principal: principalOf(digest) }));
  const readable = [join(import.meta.dirname, '..'), join(root, 'node_modules'), join(root, 'page'), join(root, 'package.json')];
  const jail: JailInput = { readable, accepted: config.accepted, ...(process.getuid?.() === 0 ? chooseIdentity(process.pid, readable, statSync) : undefined) };

  let pair: Pair | undefined;
  let facts: EngineFacts | undefined;
  const status = () => ({
    version,
    pid: process.pid,
    uptime_s: Math.floor((Date.now() - startedAt) / 1000),
    model: { name: model.name, bytes: model.bytes, architecture: facts?.architecture ?? 'loading', context: facts?.contextTokens ?? 0 },
    engine: { version: facts?.engineVersion ?? 'loading', backend: facts?.backend ?? 'loading', threads: facts?.threads ?? 0, parallel: config.parallel, restarts: budget.taken },
    layers: layers(),
  });
  const layers = () =>
    reportLayers({
      port: listener.port,
      tcp: readFileSync('/proc/self/net/tcp', 'latin1'),
      tcp6: readTable('/proc/self/net/tcp6'),
      heldIpv6: heldIpv6.reason,
      enforced: pair?.enforced ?? { gateway: [], engine: [] },
      accepted: config.accepted,
      engine: facts,
      tree: tree.checks,
      model: model.verified.checks,
      now: Date.now(),
    });
  const budget = new RestartBudget();
  const startPair = async (): Promise<Pair> => {
    pair = new Pair({
      listenerFd: listener.fd,
      unixListenerFd: unix?.fd,
      modelFd: model.fd,
      jail: () => jail,
      engine: {
        modelName: model.name,
        modelBytes: model.bytes,
        createdSeconds: model.createdSeconds,
        libraryDirectory: libraryDirectory(),
        contextTokens: config.contextTokens,
        parallel: config.parallel,
        threads: config.threads,
        turnSeconds: 3600,
      },
      gateway: () => ({ port: listener.port, uptimeBase: startedAt, tokens: digests(), bodyBytes: 32 << 20, pageDirectory: join(root, 'page') }),
      status,
      onEvent: (code, role, pid, count) => {
        logEvent(state, { code, role, pid, ...(count === undefined ? {} : { count }) });
      },
    });
    try {
      facts = await pair.ready;
    } catch (error) {
      pair.kill();
      throw error;
    }
    return pair;
  };

  const stop = Promise.withResolvers<undefined>();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      stop.resolve(undefined);
    });
  }
  process.on('exit', () => pair?.kill());

  let stamp = namedTokensStamp(state);
  const tokenWatch = setInterval(() => {
    const now = namedTokensStamp(state);
    if (now === stamp) return;
    stamp = now;
    try {
      named = readNamedTokens(state);
    } catch (error) {
      // A damaged file opens nothing: until it is mended only the person's own token is good.
      if (!(error instanceof KwyreError)) throw error;
      named = [];
      logEvent(state, { code: error.code });
    }
    pair?.gateway.control.send(controlMessages.tokensSet, encodeJson({ tokens: digests() }));
  }, tokenPollMs);

  try {
    writeToken(state, token);
    const started = Promise.race([startPair(), stop.promise]);
    let current = await started;
    if (current === undefined) return 0;
    writePresence(state, { pid: process.pid, port: listener.port, socket: unix?.path ?? null, model: model.name, startedAt: new Date(startedAt).toISOString() });
    logEvent(state, { code: 'SERVER_READY', pid: process.pid });
    console.log(
      welcome({
        version,
        model: model.name,
        port: listener.port,
        seconds: Number(process.hrtime.bigint() - startedNs) / 1e9,
        layers: layers(),
        headerPath: join(state, tokenFiles.header),
        tokenPath: join(state, tokenFiles.token),
        socketPath: unix?.path,
        token: process.stdout.isTTY ? token : undefined,
      }),
    );
    for (;;) {
      const ending = await Promise.race([current.ended, stop.promise]);
      if (ending === undefined) {
        await current.stop(graceMs);
        logEvent(state, { code: 'SERVER_STOPPED' });
        return 0;
      }
      const exit = judge(ending, state, budget);
      if (exit !== undefined) return exit;
      const next = await Promise.race([startPair(), stop.promise]);
      if (next === undefined) return 0;
      current = next;
    }
  } finally {
    clearInterval(tokenWatch);
    pair?.kill();
    if (pair !== undefined) await pair.ended;
    removePresence(state);
    removeToken(state);
    unix?.remove();
  }
}

/** What the end of a pair means: an exit code, or `undefined` for another start. */
function judge(ending: PairEnding, state: string, budget: RestartBudget): number | undefined {
  if (ending.kind === 'stopped') return 0;
  if (ending.kind === 'breach') {
    logEvent(state, { code: 'L6_BREACH', role: ending.role, pid: ending.pid, signal: ending.reason });
    console.error(`kwyre: the ${ending.role} (pid ${ending.pid}) did what it may not (${ending.reason}); everything was ended\n  next: treat this machine's conversations as seen; look at ${join(state, 'events.jsonl')}, then start again`);
    return 16;
  }
  logEvent(state, { code: 'PAIR_CRASHED', role: ending.role, ...(ending.signal === null ? {} : { signal: ending.signal }) });
  if (!budget.take(performance.now())) {
    console.error(`kwyre: the ${ending.role} crashed more than ${restartLimit.count} times in an hour; the server ended\n  next: try another model or less --ctx; look at ${join(state, 'events.jsonl')}`);
    return 1;
  }
  console.error(`kwyre: the ${ending.role} ended (${ending.signal ?? `exit ${ending.code ?? 0}`}); its conversations are gone, starting again (${budget.taken} of ${restartLimit.count} this hour)`);
  return undefined;
}

function readTable(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // a kernel without IPv6 has no such table
  }
}

/** Where llama.cpp's libraries for this machine are. @throws `ENGINE_PLATFORM` */
function libraryDirectory(): string {
  const platform = `${process.platform}-${process.arch}`;
  if (platform !== 'linux-x64' && platform !== 'linux-arm64') throw new KwyreError('ENGINE_PLATFORM', `there is no engine for ${platform}`, 'run Kwyre on 64-bit Linux (or inside WSL2)');
  return join(root, 'node_modules', '@node-llama-cpp', platform, 'bins', platform);
}

/** Serves until the end; the tree was verified by `start.ts`. @throws KwyreError */
export async function supervise(args: readonly string[], tree: VerifiedTree): Promise<number> {
  const faults = mappedFaults(tree, fs, fs.readFileSync('/proc/self/maps', 'latin1'));
  if (faults.length > 0) throw new DifferenceError(3, 'native code that was loaded', faults, 'install again: npm ci --omit=dev --ignore-scripts --no-bin-links');
  return await serve(parseServe(args), tree);
}
