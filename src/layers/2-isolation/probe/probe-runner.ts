/**
 * Runs a throw-away process in a role's own jail and tells what it could do: the real jail stage, the real policy, with
 * kill replaced by an answer, and for one lock alone with the others left out.
 *
 * Promise: makes no socket in this process and opens no listener; a probe lives for seconds and ends with its starter.
 * Limits:  it asks what the kernel refuses now, in a process like the role; it does not look into the living one.
 * Proof:   test/attacks/2-probe.test.ts, test/attacks/2-locks.test.ts
 * @module
 */
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { extname, join } from 'node:path';
import { KwyreError } from '../../../base/errors.ts';
import type { Enforcement } from '../../../base/verdict.ts';
import type { Address } from '../../../linux/procfs/unused-address.ts';
import { makePipe } from '../../../linux/sockets/pipe.ts';
import { openStream } from '../../../linux/sockets/inherited-stream.ts';
import type { Role } from '../../../policy/roles.ts';
import type { ProbeVerdict, Lock } from './probe-verdict.ts';
import { featureBehind, judgeAnswers, attemptsFor, featuresToDisable } from './probe-verdict.ts';
import type { ProbeRequest } from './probe-request.ts';

/** The programs that a probe goes through. */
export type ProbePrograms = {
  readonly node: string;
  readonly flags: readonly string[];
  readonly entry: string;
  readonly jail: string;
  readonly probe: string;
  /**
   * The sealed digests of what it may load and the memory of its native code, and where it finds them; without them it
   * loads by itself.
   */
  readonly loads:
    | { readonly fd: number; readonly at: number; readonly binding: number | undefined; readonly bindingAt: number }
    | undefined;
};

/** The programs beside a running copy (`.ts` in development, `.js` when served). */
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

/** What the jail stage is told besides the probe's order. */
export type ProbeJail = {
  readonly readable: readonly string[];
  readonly uid?: number;
  readonly gid?: number;
  readonly accepted: readonly string[];
  readonly tasks?: number;
  readonly installed?: boolean;
};

/** What is aimed at; addresses of this machine only. */
export type ProbeTargets = { readonly machine: Address; readonly closedPort: number; readonly servedPort: number };

/** How a probe ended. */
export type ProbeOutcome = {
  readonly answers: ReadonlyMap<string, number>;
  readonly enforced: readonly Enforcement[];
  readonly failure: KwyreError | undefined;
  readonly complete: boolean;
  readonly signal: string | null;
  readonly code: number | null;
  /** What it printed besides: why it could not run. */
  readonly words: string;
};

const limitMs = 20_000;
const mostWords = 2000;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads what a probe wrote, line by line; pure. Words that are no report are kept to explain a failure. */
export function readReport(
  text: string,
): Pick<ProbeOutcome, 'answers' | 'enforced' | 'failure' | 'complete' | 'words'> {
  const answers = new Map<string, number>();
  let enforced: readonly Enforcement[] = [];
  let failure: KwyreError | undefined;
  let complete = false;
  const words: string[] = [];
  for (const line of text.split('\n')) {
    let value: unknown;
    try {
      value = line.startsWith('{') ? JSON.parse(line) : undefined;
    } catch {
      value = undefined;
    }
    if (!isRecord(value)) {
      if (line.trim() !== '') words.push(line.trim());
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
    words: words
      .join(' / ')
      .slice(0, mostWords)
      .replace(/[^\x20-\x7e]/g, '?'),
  };
}

/** Runs one probe to its end; never throws for what the probe itself met. */
export async function runProbe(
  programs: ProbePrograms,
  role: Role,
  jail: ProbeJail,
  order: ProbeRequest,
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
  const input = JSON.stringify({ ...jail, probe: JSON.stringify(order) });
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
  const timer = setTimeout(kill, limitMs);
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

/** One probe of the network: in the whole jail of a role, or of one lock alone. */
export type ProbeScope = { readonly role: Role; readonly alone: Lock | undefined };

/** What a goal's probe showed. */
export type ProbeResult = ProbeVerdict & {
  readonly goal: ProbeScope;
  readonly status: 'held' | 'out' | 'failed' | 'absent';
  readonly answers: ReadonlyMap<string, number>;
  /** Why it failed, or why the lock is not there. */
  readonly reason: string;
  /** What would mend that; empty where nothing is known. */
  readonly remedy: string;
  readonly tookMs: number;
};

/** Why a lock cannot hold by itself here, judged by what the jail stage got. */
function absence(alone: Lock | undefined, enforced: readonly Enforcement[]): string | undefined {
  const deciding = alone === undefined ? undefined : featureBehind[alone];
  if (deciding === undefined) return undefined;
  const entry = enforced.find((one) => one.feature === deciding);
  if (entry === undefined) return 'this role does without it';
  return entry.status === 'none' ? `${entry.got}: ${entry.reason}` : undefined;
}

/** Tries every way out that the goal's locks must hold. */
export async function probeRole(
  programs: ProbePrograms,
  goal: ProbeScope,
  jail: ProbeJail,
  aim: ProbeTargets,
  signal?: AbortSignal,
): Promise<ProbeResult> {
  const from = performance.now();
  const asked = attemptsFor(goal.alone);
  const probed = await runProbe(
    programs,
    goal.role,
    jail,
    { attempts: asked, without: featuresToDisable(goal.alone), deadly: false, ...aim },
    signal,
  );
  const judged = judgeAnswers(asked, probed.answers);
  const missing = absence(goal.alone, probed.enforced);
  const common = {
    goal,
    ...judged,
    answers: probed.answers,
    remedy: probed.failure?.remedy ?? '',
    tookMs: performance.now() - from,
  };
  if (probed.failure === undefined && missing !== undefined) return { ...common, status: 'absent', reason: missing };
  if (judged.out.length > 0) return { ...common, status: 'out', reason: '' };
  if (!probed.complete || judged.missing.length > 0) {
    const how =
      probed.failure?.message ??
      `it ended early (${probed.signal ?? `exit ${probed.code ?? 1}`})${probed.words === '' ? '' : `: ${probed.words}`}`;
    return { ...common, status: 'failed', reason: how };
  }
  return { ...common, status: 'held', reason: '' };
}
