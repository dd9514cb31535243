/**
 * Runs a throwaway process in a role's own jail and reports what it could do. It uses the real jail stage and the real
 * policy, with kill replaced by an error. To test one mechanism alone, it leaves out the others.
 *
 * Promise: creates no socket in this process and opens no listener; a probe lives for seconds and dies with its parent.
 * Limits:  shows what the kernel denies a process confined like the role, not what it denies the running role itself.
 * Proof:   test/attacks/2-probe.test.ts, test/attacks/2-locks.test.ts
 * @module
 */
import type { JailInput } from '../jail/confine.ts';
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { extname, join } from 'node:path';
import { KwyreError } from '../../../base/errors.ts';
import type { Enforcement } from '../../../base/verdict.ts';
import { makePipe } from '../../../linux/sockets/pipe.ts';
import { openStream } from '../../../linux/sockets/inherited-stream.ts';
import type { Role } from '../../../policy/roles.ts';
import type { ProbeVerdict, Lock } from './probe-verdict.ts';
import { featureBehind, judgeAnswers, attemptsFor, featuresToDisable } from './probe-verdict.ts';
import type { ProbeRequest, ProbeTargets } from './probe-request.ts';

/** The programs that a probe executes. */
export type ProbePrograms = {
  readonly node: string;
  readonly flags: readonly string[];
  readonly entry: string;
  readonly jail: string;
  readonly probe: string;
  /** Memfds with the load list and the native code, and their descriptor numbers in the probe; optional in tests. */
  readonly loads:
    | { readonly fd: number; readonly at: number; readonly binding: number | undefined; readonly bindingAt: number }
    | undefined;
};

/** Returns the programs for the running copy: `.ts` in development, `.js` when installed. */
export function probePrograms(
  folder: string,
  filename: string,
  node: string,
  flags: readonly string[],
  loads?: ProbePrograms['loads'],
): ProbePrograms {
  const at = (relative: string): string => join(folder, `${relative}${extname(filename)}`);
  return { node, flags, entry: at('jail/entry'), jail: at('jail/main'), probe: at('probe/main'), loads };
}

/** How a probe ended. */
export type ProbeOutcome = {
  readonly answers: ReadonlyMap<string, number>;
  readonly enforced: readonly Enforcement[];
  readonly failure: KwyreError | undefined;
  readonly complete: boolean;
  readonly signal: string | null;
  readonly code: number | null;
  /** Other output, which explains why the probe could not run. */
  readonly output: string;
};

const timeoutMs = 20_000;
const maxOutput = 2000;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Parses a probe's report, line by line; other lines are kept to explain a failure. Pure. @internal */
export function readReport(
  text: string,
): Pick<ProbeOutcome, 'answers' | 'enforced' | 'failure' | 'complete' | 'output'> {
  const answers = new Map<string, number>();
  let enforced: readonly Enforcement[] = [];
  let failure: KwyreError | undefined;
  let complete = false;
  const output: string[] = [];
  for (const line of text.split('\n')) {
    let value: unknown;
    try {
      value = line.startsWith('{') ? JSON.parse(line) : undefined;
    } catch {
      value = undefined;
    }
    if (!isRecord(value)) {
      if (line.trim() !== '') output.push(line.trim());
      continue;
    }
    const { attempt, answer, failed, done } = value;
    if (Array.isArray(value['enforced'])) enforced = value['enforced'] as readonly Enforcement[];
    else if (typeof attempt === 'string' && typeof answer === 'number') answers.set(attempt, answer);
    else if (isRecord(failed))
      failure = new KwyreError(String(failed['code']), String(failed['message']), String(failed['remedy']));
    else if (done === true) complete = true;
  }
  return {
    answers,
    enforced,
    failure,
    complete,
    output: output
      .join(' / ')
      .slice(0, maxOutput)
      .replace(/[^\x20-\x7e]/g, '?'),
  };
}

/** Runs one probe until it exits. A failure of the probe is returned as an outcome, not thrown. */
export async function runProbe(
  programs: ProbePrograms,
  role: Role,
  jail: JailInput,
  request: ProbeRequest,
  signal?: AbortSignal,
): Promise<ProbeOutcome> {
  const { reading, writing } = makePipe();
  const { loads } = programs;
  const through = loads === undefined ? [] : [programs.entry];
  const gap = (from: number, to: number) => Array.from({ length: to - from }, () => 'ignore' as const);
  const behind =
    loads === undefined
      ? []
      : [
          ...gap(4, loads.at),
          loads.fd,
          ...(loads.binding === undefined ? [] : [...gap(loads.at + 1, loads.bindingAt), loads.binding]),
        ];
  const input = JSON.stringify({ ...jail, probe: JSON.stringify(request) });
  const child = spawn(programs.node, [...programs.flags, ...through, programs.jail, role, programs.probe, input], {
    env: {},
    cwd: '/',
    stdio: ['ignore', 'ignore', writing, writing, ...behind],
    detached: true,
  });
  closeSync(writing);
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  const timer = setTimeout(kill, timeoutMs);
  signal?.addEventListener('abort', kill, { once: true });
  if (signal?.aborted === true) kill();
  let text = '';
  const read = new Promise<void>((resolve) => {
    openStream(
      reading,
      (chunk) => {
        if (text.length < 64 * 1024) text += chunk.toString('latin1');
      },
      resolve,
    );
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('error', () => {
      resolve({ code: 1, signal: null });
    });
    child.once('exit', (code, by) => {
      resolve({ code, signal: by });
    });
  });
  const [ending] = await Promise.all([ended, read]);
  clearTimeout(timer);
  signal?.removeEventListener('abort', kill);
  return { ...readReport(text), ...ending };
}

/** The scope of a network probe: a role's whole jail, or one mechanism alone. */
export type ProbeScope = { readonly role: Role; readonly alone: Lock | undefined };

/** The result of a network probe. */
export type ProbeResult = ProbeVerdict & {
  readonly scope: ProbeScope;
  readonly status: 'blocked' | 'escaped' | 'failed' | 'absent';
  readonly answers: ReadonlyMap<string, number>;
  /** Why the probe failed, or why the mechanism is absent. */
  readonly reason: string;
  /** How to fix that; empty if unknown. */
  readonly remedy: string;
  readonly tookMs: number;
};

/** Returns why a mechanism cannot be tested alone here, according to the jail stage's report. */
function absence(alone: Lock | undefined, enforced: readonly Enforcement[]): string | undefined {
  const deciding = alone === undefined ? undefined : featureBehind[alone];
  if (deciding === undefined) return undefined;
  const entry = enforced.find((one) => one.feature === deciding);
  if (entry === undefined) return 'the policy of this role leaves it out';
  return entry.status === 'none' ? `${entry.observed}: ${entry.reason}` : undefined;
}

/** Makes every attempt that the scope must block. */
export async function probeRole(
  programs: ProbePrograms,
  scope: ProbeScope,
  jail: JailInput,
  targets: ProbeTargets,
  signal?: AbortSignal,
): Promise<ProbeResult> {
  const from = performance.now();
  const asked = attemptsFor(scope.alone);
  const probed = await runProbe(
    programs,
    scope.role,
    jail,
    { attempts: asked, without: featuresToDisable(scope.alone), deadly: false, ...targets },
    signal,
  );
  const verdict = judgeAnswers(asked, probed.answers);
  const missing = absence(scope.alone, probed.enforced);
  const common = {
    scope,
    ...verdict,
    answers: probed.answers,
    remedy: probed.failure?.remedy ?? '',
    tookMs: performance.now() - from,
  };
  if (probed.failure === undefined && missing !== undefined) return { ...common, status: 'absent', reason: missing };
  if (verdict.out.length > 0) return { ...common, status: 'escaped', reason: '' };
  if (!probed.complete || verdict.missing.length > 0) {
    const exit = [probed.signal ?? `exit ${probed.code ?? 1}`, probed.output].filter((text) => text !== '').join(': ');
    const how = probed.failure?.message ?? `the probe exited early (${exit})`;
    return { ...common, status: 'failed', reason: how };
  }
  return { ...common, status: 'blocked', reason: '' };
}
