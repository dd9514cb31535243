/**
 * A server from its start to its end: order of start, the children's lives; it parses no byte from the network.
 *
 * Promise: every way out (SIGTERM, SIGINT, SIGHUP, SIGQUIT, an uncaught error, its own death) ends every child. A death
 *          by SIGSYS or a breach of the wire ends everything with exit code 16; a crash of the engine is answered by a
 *          fresh pair, at most three times an hour.
 * Proof:   test/e2e/lifecycle.test.ts
 * @module
 */
import { statusField } from '../linux/procfs/task-status.ts';
import { randomInt } from 'node:crypto';
import * as fs from 'node:fs';
import { availableParallelism, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '../policy/node-flags.ts';
import { programFolder, root } from '../installation/paths.ts';
import { parseServe } from '../base/config.ts';
import type { Config } from '../base/config.ts';
import { KwyreError } from '../base/errors.ts';
import type { Check } from '../base/verdict.ts';
import { version } from '../base/version.ts';
import { bindUnix } from '../layers/1-loopback/unix-listener.ts';
import { isIpv6Reserved, openLoopback } from '../layers/1-loopback/listener.ts';
import { chooseIdentity, pickUserId, taskLimit } from '../layers/2-isolation/jail/role-user.ts';
import { probePrograms } from '../layers/2-isolation/probe/probe-runner.ts';
import { confineSupervisor } from '../layers/2-isolation/jail/supervisor-filter.ts';
import { checkWaivers } from '../layers/2-isolation/waiver-check.ts';
import { parseInstalled, recordPath } from '../layers/2-isolation/install/install-record.ts';
import { assertMapped } from '../installation/own-tree.ts';
import { encodeLoadList, loadListDescriptor, nativeDescriptors } from '../layers/3-dependencies/load-list.ts';
import { identityOf } from '../layers/3-dependencies/native-code.ts';
import { programCheck } from '../layers/3-dependencies/tree-verifier.ts';
import { immediateViolations } from '../layers/6-intrusion/escalation.ts';
import { ignoredIn, ignoredVariable } from '../linux/ignored-signals.ts';
import { claimUser, hasProcesses } from '../linux/user-keys.ts';
import { lockFile } from '../linux/files/file-lock.ts';
import { sealedBytes } from '../linux/memory/memfd.ts';
import { closeOnExec, isDumpable } from '../linux/process.ts';
import { openProcReader } from '../linux/procfs/proc-reader.ts';
import { processAge } from '../linux/procfs/task-stat.ts';
import { defaultStateDirectory, openState, unwritable } from '../state/state-directory.ts';
import { EventLog, eventsFile } from '../state/event-log.ts';
import { readRootText } from '../state/root-files.ts';
import { removePresence, writePresence } from '../state/presence.ts';
import { removeToken, tokenFiles, writeToken } from '../state/token-store.ts';
import { assertNoViolation, markerPaths, markViolation, readBootId } from '../state/violation-marker.ts';
import { lockName, makeWitness } from '../state/server-witness.ts';
import { encodeJson } from '../wire/control-payloads.ts';
import { controlMessages } from '../wire/messages.ts';
import type { EngineFacts } from '../wire/control-payloads.ts';
import type { confirm } from './intrusion/alarm.ts';
import { Alarm } from './intrusion/alarm.ts';
import { openApprovedModel } from './start/model-resolver.ts';
import { startText } from './start/start-text.ts';
import type { JailInput } from './roles/role-process.ts';
import { ownProgram } from './roles/role-process.ts';
import type { Handover } from './start/reexec.ts';
import { memoryChecks } from './memory-checks.ts';
import { judgeEnding } from './roles/exit-verdict.ts';
import { EventBudget } from './intrusion/event-budget.ts';
import { RolePair, wipeMs } from './roles/role-pair.ts';
import { describeEscape, SelfProbe } from './roles/self-probe.ts';
import { RestartBudget } from './roles/restart-budget.ts';
import { mostTable, reportLayers } from './status.ts';
import { LiveTokens } from './live-tokens.ts';

const graceMs = 800;
const eyes = openProcReader();
/** The longest that the way out waits for children that were killed: one may stand in the kernel and never go. */
const goneMs = 2000;
/** What a server owns from its start to its end. */
async function serve(config: Config, { tree, natives, visible }: Handover): Promise<number> {
  const startedAt = Date.now();
  const state = openState(config.state ?? defaultStateDirectory(process.env));
  if (!takeLock(state))
    throw new KwyreError(
      'STATE_IN_USE',
      `a server runs already with the state folder ${state}`,
      './kwyre status shows it; another one needs another --state DIR and --port',
    );
  // Left by a server that was killed: void, and not for others to find.
  removeToken(state);
  removePresence(state);
  const bootId = readBootId();
  const uid = process.getuid?.() ?? -1;
  const markers = markerPaths(state, uid);
  assertNoViolation(markers, bootId, config.acknowledgeViolation);
  const log = new EventLog(state, (reason) => {
    console.error(
      `kwyre: events cannot be written to ${join(state, eventsFile)} (${reason}): they are counted, and the server goes on\n  next: ${unwritable(state, { code: reason }).remedy}`,
    );
  });
  // The kernel's word that somebody wants to write the model's file, which is held under a lease; the watchdog's next
  // scans judge it (`alarm.ts`). Without a listener the signal would end this process.
  process.on('SIGIO', () => undefined);
  const model = await openApprovedModel({ wanted: config.model, root, state, weights: config.weights });
  const { listener, reservedIpv6, network } = openLoopback(
    { fds: process.env['LISTEN_FDS'], pid: process.env['LISTEN_PID'] },
    process.pid,
    config.port,
  );
  const unix = config.socketPath === undefined ? undefined : bindUnix(config.socketPath);
  const readable = [
    programFolder,
    join(root, 'node_modules'),
    join(root, 'page'),
    join(root, 'package.json'),
    ...(model.verified.mode === 'file' ? model.paths : []),
  ];
  const installed = isInstalled(uid);
  // Now: the filter of this process refuses keys.
  const draw = (): number | undefined =>
    uid === 0 ? pickUserId({ draw: randomInt, inUse: hasProcesses, claim: claimUser }) : undefined;
  const ids = { roles: draw(), watchdog: draw() };
  const jailFor = (who: 'roles' | 'watchdog'): JailInput => {
    const become = uid === 0 ? chooseIdentity(ids[who], readable, fs.statSync) : undefined;
    return {
      readable,
      accepted: config.accepted,
      installed,
      ...become,
      ...taskLimit(become, installed, availableParallelism(), config.threads),
    };
  };

  const loadsFd = sealedBytes('kwyre-loads', encodeLoadList(tree, [...natives.keys()], visible));
  const nativeFds = [...natives.values()];

  let pair: RolePair | undefined;
  let facts: EngineFacts | undefined;
  /** Engines that ended, and what they left in memory. */
  const ended = { engines: 0, overwrittenBytes: 0 };
  /** What holds this process itself, in words; empty until it is confined. */
  let confined = '';
  /** The token can be read: from then on this server is one that a person can use. */
  let published = false;
  /** The engine of the present pair is loaded and sealed. */
  let answering = false;
  const intake = () => ({ open: published && alarm.open, ready: published && answering });
  const tellIntake = (): void => {
    pair?.gateway.control.send(controlMessages.intake, encodeJson(intake()));
  };
  /** Filters of this process when it started the watchdog, and the pair. */
  const atStart = countFilters();
  let atPair = atStart;
  const tokens = new LiveTokens(state, log, () => {
    pair?.gateway.control.send(controlMessages.tokensSet, encodeJson({ tokens: tokens.digests }));
  });
  const record: Parameters<typeof confirm>[0] = { log, mark: (violation) => markViolation(markers, violation, bootId) };
  const ledger = new EventBudget(log, () => performance.now());
  const alarm = new Alarm({
    ...record,
    ledger,
    uid,
    jail: jailFor('watchdog'),
    intervalMs: config.scanMs,
    profile: installed ? 'installed' : 'person',
    acknowledged: config.acknowledgedTools,
    listener,
    networks: [...new Set([process.pid, network])],
    unixPath: unix?.path,
    modelFds: model.fds,
    loads: { fd: loadsFd, natives: nativeFds.slice(0, 1) },
    code: [...tree.evidence.libraries, ...(visible ? [fs.realpathSync(ownProgram)] : [])],
    memory: [fs.statSync(ownProgram), ...nativeFds.map((fd) => fs.fstatSync(fd))].map(identityOf),
    setIntake: tellIntake,
    cutTurns: () => pair?.cutTurns(),
    endAll: async () => await pair?.wipe(),
  });
  const probe = new SelfProbe({
    programs: probePrograms(programFolder, import.meta.filename, ownProgram, nodeFlags, {
      fd: loadsFd,
      at: loadListDescriptor,
      binding: nativeFds[0],
      bindingAt: nativeDescriptors.first,
    }),
    jail: (role) => jailFor(role === 'watchdog' ? 'watchdog' : 'roles'),
    ownPort: () => listener.port,
    readTable: (name) => readTable(`/proc/${network}/net/${name}`),
    readThreads: (role) => readThreads(role === 'watchdog' ? alarm.pid : (pair?.[role].pid ?? 0)),
    inherited: (role) => (role === 'watchdog' ? atStart : atPair),
    now: () => Date.now(),
    onEscape: (result) => {
      alarm.raise(
        { code: immediateViolations.selfProbe, detector: 'jail', pid: process.pid, uid, name: 'kwyre probe' },
        describeEscape(result),
      );
    },
    onLocksTried: () => {
      confined = confineSupervisor();
    },
  });
  const budget = new RestartBudget();
  const program = programCheck(tree, Date.now());
  const layers = () =>
    reportLayers({
      port: listener.port,
      tcp: readTable(`/proc/${network}/net/tcp`),
      tcp6: readTable(`/proc/${network}/net/tcp6`),
      ipv6: { held: isIpv6Reserved(reservedIpv6, listener.port), reason: reservedIpv6.reason },
      closedRoutes: pair?.closedRoutes ?? 0,
      enforced: pair?.enforced ?? { gateway: [], engine: [] },
      devices: readTable('/proc/self/net/dev'),
      release: release(),
      probes: probe.checks(),
      confined,
      installed,
      accepted: config.accepted,
      tree: [...tree.checks, memoryCheck(visible, uid)],
      model: [...model.checks, program],
      memory: memoryChecks(
        facts,
        readTable('/proc/swaps'),
        { presentBytes: pair?.workingBytes ?? 0, ...ended },
        Date.now(),
      ),
      watchdog: alarm.checks,
      now: Date.now(),
    });
  const status = () => ({
    version,
    pid: process.pid,
    uptime_s: Math.floor((Date.now() - startedAt) / 1000),
    model: {
      name: model.name,
      bytes: model.bytes,
      architecture: facts?.architecture ?? 'loading',
      context: facts?.contextTokens ?? 0,
    },
    engine: {
      version: facts?.engineVersion ?? 'loading',
      backend: facts?.backend ?? 'loading',
      threads: facts?.threads ?? 0,
      parallel: config.parallel,
      restarts: budget.taken,
    },
    layers: layers(),
    events: log.losses,
  });
  const startPair = async (): Promise<RolePair> => {
    atPair = countFilters();
    answering = false;
    pair = new RolePair({
      listenerFd: listener.fd,
      unixListenerFd: unix?.fd,
      modelFds: model.fds,
      loads: { fd: loadsFd, natives: nativeFds },
      machineBytes: totalmem(),
      onOverwritten: (bytes) => {
        ended.engines += 1;
        ended.overwrittenBytes += bytes;
        log.write({ code: 'WORKING_SET_OVERWRITTEN', role: 'engine', count: bytes });
      },
      jail: () => jailFor('roles'),
      engine: {
        modelName: model.name,
        modelBytes: model.bytes,
        modelFiles: model.fds.length,
        createdSeconds: model.createdSeconds,
        contextTokens: config.contextTokens,
        parallel: config.parallel,
        threads: config.threads,
        turnSeconds: 3600,
        kv: config.kv,
        idleSeconds: config.idleSeconds,
        continueSeconds: config.continueSeconds,
        sealedBytes: 0,
      },
      gateway: () => ({
        port: listener.port,
        tokens: tokens.digests,
        bodyBytes: 32 << 20,
        pageDirectory: join(root, 'page'),
        ...intake(),
      }),
      status,
      onLate: (role, ms, cut) => {
        alarm.late(role, ms, cut);
      },
      onWiped: (code, pid) => {
        log.write({ code, role: 'engine', pid });
      },
      onWrongTokens: (pid, count) => {
        ledger.wrongTokens(pid, count);
      },
    });
    alarm.follow(pair, false);
    facts = await pair.ready;
    answering = true;
    alarm.follow(pair, true);
    tellIntake();
    return pair;
  };

  const stop = Promise.withResolvers<'stop'>();
  const ignored = ignoredIn(process.env[ignoredVariable]);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) {
    if (ignored.has(signal)) continue;
    process.on(signal, () => {
      stop.resolve('stop');
    });
  }
  // A server that stands still cannot act on what its watchdog sees: it is not put in the background by Ctrl-Z.
  process.on('SIGTSTP', () => {
    if (!ignored.has('SIGTSTP'))
      console.error('kwyre: it cannot be suspended, a stopped server would be a violation\n  next: end it with Ctrl-C');
  });
  process.on('exit', () => {
    pair?.kill();
    alarm.kill();
    void attempt(() => pair?.overwrite());
  });
  const violated = alarm.raised.then((): 'violated' => 'violated');
  let failure: unknown;

  try {
    const first = await Promise.race([
      Promise.all([startPair(), alarm.admit(), probe.start()]),
      stop.promise,
      violated,
    ]);
    if (first === 'stop') return 0;
    if (first === 'violated') return 16;
    let [current] = first;
    writeToken(state, tokens.personal);
    published = true;
    tellIntake();
    // Ready is said to everybody at the same time: once the gateway has heard it.
    await Promise.race([current.heard(), current.ended]);
    writePresence(state, {
      pid: process.pid,
      port: listener.port,
      socket: unix?.path ?? null,
      model: model.name,
      startedAt: new Date(startedAt).toISOString(),
      witness: makeWitness(state, fs.fstatSync(listener.fd).ino),
    });
    log.write({ code: 'SERVER_READY', pid: process.pid });
    console.log(
      startText({
        version,
        model: model.name,
        port: listener.port,
        seconds: processAge(fs.readFileSync('/proc/self/stat', 'latin1'), fs.readFileSync('/proc/uptime', 'latin1')),
        layers: layers(),
        headerPath: join(state, tokenFiles.header),
        tokenPath: join(state, tokenFiles.token),
        socketPath: unix?.path,
        token: process.stdout.isTTY ? tokens.personal : undefined,
      }),
    );
    for (;;) {
      const ending = await Promise.race([current.ended, stop.promise, violated]);
      if (ending === 'violated') return 16;
      if (ending === 'stop') {
        await current.stop(graceMs);
        log.write({ code: 'SERVER_STOPPED' });
        return 0;
      }
      alarm.follow(undefined, false);
      const exit = judgeEnding(ending, state, record, budget, alarm.starved);
      if (exit !== undefined) return exit;
      const next = await Promise.race([startPair(), stop.promise, violated]);
      if (next === 'violated') return 16;
      if (next === 'stop') return 0;
      current = next;
    }
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    probe.stop();
    tokens.stop();
    if (!alarm.violated) pair?.kill();
    // Whatever fails from here on is said; it must not take the place of why the server ends.
    await attempt(() => within(pair?.ended, goneMs + (alarm.violated ? wipeMs : 0)), failure);
    await attempt(() => within(alarm.stop(), goneMs));
    await attempt(() => alarm.recorded);
    ledger.close();
    await attempt(() => {
      removePresence(state);
    });
    await attempt(() => {
      removeToken(state);
    });
    await attempt(() => unix?.remove());
  }
}

/** Waits for something, but no longer than so many milliseconds. */
async function within(what: Promise<unknown> | undefined, ms: number): Promise<void> {
  const over = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => {
    over.resolve(undefined);
  }, ms);
  try {
    await Promise.race([what, over.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Does one thing on the way out and says what failed, unless that is said elsewhere. */
async function attempt(step: () => unknown, saidElsewhere?: unknown): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (error === saidElsewhere) return;
    console.error(error instanceof KwyreError ? `kwyre: ${error.message}\n  next: ${error.remedy}` : error);
  }
}

/** Takes the lock of a state folder; `false` when another server has it. @throws `STATE_UNWRITABLE` */
function takeLock(state: string): boolean {
  const path = join(state, lockName);
  try {
    return lockFile(path);
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** Whether this is the installed server: root's record names our user. @throws `L2_ISOLATE_RECORD` */
function isInstalled(uid: number): boolean {
  const record = readRootText(recordPath, 'L2_ISOLATE_RECORD');
  return record !== undefined && parseInstalled(record).uid === uid;
}

/** A table of the kernel, at most `mostTable` bytes of it: others make as many connections as they like. */
function readTable(path: string): string {
  const look = eyes.readLong(path, mostTable);
  return 'value' in look ? look.value : ''; // a kernel without IPv6 has no such table
}

/** How many filters this process has; 0 where the kernel does not count them (before Linux 5.9). */
function countFilters(): number {
  return Number(statusField(readTable('/proc/self/status'), 'Seccomp_filters'));
}

/** `status` of every thread of a process; none when it is gone. */
function readThreads(pid: number): string[] {
  try {
    return fs
      .readdirSync(`/proc/${pid}/task`)
      .map((thread) => readTable(`/proc/${pid}/task/${thread}/status`))
      .filter((text) => text !== '');
  } catch {
    return [];
  }
}

/** From which bytes Node runs, and whether its own user may look into the processes when they begin. */
function memoryCheck(visible: boolean, uid: number): Check {
  const id = 'sealed-program';
  const at = Date.now();
  if (visible)
    return {
      id,
      status: 'degraded',
      evidence:
        'Node runs from its file, since this kernel runs no program from memory (vm.memfd_noexec=2): until a process has hidden itself, another program of its user may look into it',
      at,
    };
  return {
    id,
    status: 'enforced',
    evidence: `Node and its native libraries run from sealed memory of the bytes that were hashed; no user may read that program, so that nobody of a role's user sees its memory from its first instruction on${uid === 0 ? "; this supervisor is root's and hid itself at its first line: before it, root alone could look" : ''}`,
    at,
  };
}

/** Serves until the end; the tree was verified by `main.ts`. @throws KwyreError */
export async function supervise(args: readonly string[], handed: Handover): Promise<number> {
  for (const fd of handed.natives.values()) closeOnExec(fd);
  assertMapped(
    handed.tree,
    new Set([fs.statSync(ownProgram), ...[...handed.natives.values()].map((fd) => fs.fstatSync(fd))].map(identityOf)),
  );
  if (isDumpable())
    throw new KwyreError(
      'L2_PROCESS_VISIBLE',
      'the supervisor cannot hide its memory from other programs of its user',
      'run outside restrictive containers',
    );
  const config = parseServe(args);
  checkWaivers(config.accepted);
  return await serve(config, handed);
}
