/**
 * The layer 2 attempts of `kwyre prove`. They run attacker code in the jail of each role, in a jail with only one
 * mechanism, and under the filter that kills the process. They also check the running roles of the second server.
 *
 * Proof: test/e2e/prove.test.ts
 * @module
 */
import type { JailInput } from '../../layers/2-isolation/jail/confine.ts';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '../../policy/node-flags.ts';
import { programFolder } from '../../installation/paths.ts';
import { describeAnswer, isBlocked, judgeAnswers } from '../../layers/2-isolation/probe/probe-verdict.ts';
import type { Lock } from '../../layers/2-isolation/probe/probe-verdict.ts';
import { blockedAlone } from '../../layers/2-isolation/probe/probe-verdict.ts';
import { chooseIdentity, pickUserId, taskLimit } from '../../layers/2-isolation/jail/role-user.ts';
import { probePrograms, probeRole, runProbe } from '../../layers/2-isolation/probe/probe-runner.ts';
import type { ProbeOutcome, ProbePrograms } from '../../layers/2-isolation/probe/probe-runner.ts';
import type { Attempt } from '../../layers/2-isolation/probe/egress-attempts.ts';
import { egressAttempts } from '../../layers/2-isolation/probe/egress-attempts.ts';
import { localAttempts, localAttemptsOf } from '../../layers/2-isolation/probe/local-attempts.ts';
import type { ProbeTargets } from '../../layers/2-isolation/probe/probe-request.ts';
import { encodeLoadList, loadListDescriptor, nativeDescriptors } from '../../layers/3-dependencies/load-list.ts';
import { readVerifiedFile } from '../../layers/3-dependencies/native-code.ts';
import { bindingName } from '../../linux/ffi-binding.ts';
import type { VerifiedTree } from '../../layers/3-dependencies/types.ts';
import { closedPort, machineAddress } from '../../linux/procfs/unused-address.ts';
import { claimUser, hasProcesses } from '../../linux/user-keys.ts';
import { sealedBytes } from '../../linux/memory/memfd.ts';
import { parseStat } from '../../linux/procfs/task-stat.ts';
import { parseStatus } from '../../linux/procfs/task-status.ts';
import type { Role } from '../../policy/roles.ts';
import type { TargetServer } from './target-server.ts';
import type { Proof } from './attempt.ts';
import { groupProofs } from './attempt.ts';

const { randomInt } = process.getBuiltinModule('node:crypto');

const jailedRoles = ['gateway', 'engine', 'watchdog'] as const satisfies readonly Role[];
const attemptsById: Readonly<Record<string, Attempt>> = { ...egressAttempts, ...localAttempts };
/** Readable by every user, because a role runs as a different user from the one who started it. */
const readable = 0o444;

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

/** Returns the code that a probe can load: only code that this command has verified. @throws `L3_FILES_DIFFER` */
function probeLoads(tree: VerifiedTree): ProbePrograms['loads'] {
  const binding = bindingName(`${process.platform}-${process.arch}`);
  return {
    fd: sealedBytes('kwyre-loads', encodeLoadList(tree, [binding], true)),
    at: loadListDescriptor,
    binding: sealedBytes('kwyre-native', readVerifiedFile(tree, binding), readable),
    bindingAt: nativeDescriptors.first,
  };
}

/** Returns the jail that a role would have in a server started by this user. */
function jailFor(root: string, sources: string): JailInput {
  const readable = [sources, join(root, 'node_modules'), join(root, 'page'), join(root, 'package.json')];
  const identity =
    process.getuid?.() === 0
      ? chooseIdentity(pickUserId({ draw: randomInt, inUse: hasProcesses, claim: claimUser }), readable, statSync)
      : undefined;
  return { readable, accepted: [], ...identity, ...taskLimit(identity, false, availableParallelism(), 0) };
}

/** Returns the addresses that the probe tries to reach. */
function targetsOf(server: TargetServer | undefined): ProbeTargets {
  const table = (name: string): string => readText(`/proc/self/net/${name}`) ?? '';
  const closed = closedPort([table('tcp'), table('tcp6'), table('udp')]);
  // Without a second server, this is a closed port. Even a connection that is refused there has got out of the jail.
  return { machine: machineAddress(table('fib_trie')), closedPort: closed, servedPort: server?.port ?? closed };
}

/** Turns the results of one role's probe into verdicts. @returns one proof per attempt @internal */
export function judgeRole(role: Role, attempts: readonly string[], probed: ProbeOutcome): Proof[] {
  const { missing } = judgeAnswers(attempts, probed.answers);
  return attempts.map((name): Proof => {
    const { ids, title } = attemptsById[name] ?? { ids: '', title: name };
    const answer = probed.answers.get(name);
    const why =
      probed.failure?.message ??
      (probed.output === '' ? `the probe ended (${probed.signal ?? `exit ${probed.code ?? 1}`})` : probed.output);
    const common = { layer: 2, ids, attempt: title, where: role, expected: 'refused by the kernel' } as const;
    if (answer === undefined || missing.includes(name))
      return { ...common, got: `not tried: ${why}`, verdict: 'not-proved' };
    return { ...common, got: describeAnswer(answer), verdict: isBlocked(answer) ? 'held' : 'breached' };
  });
}

/** Proves that a forbidden call ends the process in a jail whose filter is set to kill. */
async function proveKill(programs: ProbePrograms, role: Role, jail: JailInput, targets: ProbeTargets): Promise<Proof> {
  const probed = await runProbe(programs, role, jail, { attempts: ['udp'], without: [], deadly: true, ...targets });
  const got =
    probed.answers.size > 0
      ? 'it kept running'
      : probed.signal === null
        ? `exit ${probed.code ?? 1} ${probed.output}`.trim()
        : `killed by ${probed.signal}`;
  return {
    layer: 2,
    ids: 'L2-01',
    attempt: 'a socket, with the filter that kills',
    where: role,
    expected: 'killed by SIGSYS',
    got,
    verdict: probed.signal === 'SIGSYS' ? 'held' : probed.answers.size > 0 ? 'breached' : 'not-proved',
  };
}

/**
 * Tries every way out of a jail that has only one mechanism. @returns `undefined` if this machine or user does not have
 * that mechanism, which is not a breach
 */
async function proveAlone(
  programs: ProbePrograms,
  alone: Lock,
  jail: JailInput,
  targets: ProbeTargets,
): Promise<Proof | undefined> {
  const result = await probeRole(programs, { role: 'gateway', alone }, jail, targets);
  if (result.status === 'absent') return undefined;
  const common = {
    layer: 2,
    ids: 'L2-24',
    attempt: `${alone} alone, without the other mechanisms (${blockedAlone[alone].length} ways out)`,
    where: 'gateway',
    expected: 'all refused',
  } as const;
  if (result.status === 'blocked') return { ...common, got: 'all refused', verdict: 'held' };
  if (result.status === 'escaped')
    return {
      ...common,
      got: result.out
        .map((way) => `${attemptsById[way]?.title ?? way}: ${describeAnswer(result.answers.get(way) ?? 0)}`)
        .join(', '),
      verdict: 'breached',
    };
  return { ...common, got: `not tried: ${result.reason}`, verdict: 'not-proved' };
}

/** Finds the running roles of a supervisor by their process titles. */
export function runningRoles(supervisor: number): Map<Role, number> {
  const found = new Map<Role, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || parseStat(readText(`/proc/${name}/stat`) ?? '')?.parent !== supervisor) continue;
    const title = readText(`/proc/${name}/cmdline`) ?? '';
    const role = jailedRoles.find((one) => title.startsWith(`kwyre: ${one} `));
    if (role !== undefined) found.set(role, Number(name));
  }
  return found;
}

function proveRunning(server: TargetServer | undefined): Proof[] {
  const pids = server === undefined ? new Map<Role, number>() : runningRoles(server.pid);
  return jailedRoles.map((role): Proof => {
    const pid = pids.get(role);
    const status = pid === undefined ? undefined : parseStatus(readText(`/proc/${pid}/status`) ?? '');
    const common = {
      layer: 2,
      ids: 'L2-23',
      attempt: 'the running process, as the kernel reports it',
      where: role,
      expected: 'filtered, no new privileges',
    } as const;
    if (status === undefined) return { ...common, got: 'not tried: the process was not found', verdict: 'not-proved' };
    const confined = status.seccomp === 2 && status.noNewPrivs;
    return {
      ...common,
      got: confined
        ? 'filtered, no new privileges'
        : `Seccomp ${status.seccomp}, NoNewPrivs ${Number(status.noNewPrivs)}`,
      verdict: confined ? 'held' : 'breached',
    };
  });
}

/**
 * Makes every attempt on layer 2. Without a second server, all of them except those on its running roles can be made.
 * @param tell - called with the results of each attempt
 */
export async function proveJail(
  root: string,
  tree: VerifiedTree,
  server: TargetServer | undefined,
  tell: (proofs: readonly Proof[]) => void,
): Promise<Proof[]> {
  const sources = programFolder;
  const programs = probePrograms(sources, import.meta.filename, process.execPath, nodeFlags, probeLoads(tree));
  const targets = targetsOf(server);
  const inRoles: Proof[] = [];
  const kills: Proof[] = [];
  for (const role of jailedRoles) {
    const jail = jailFor(root, sources);
    const attempts = [...Object.keys(egressAttempts), ...localAttemptsOf(role)];
    inRoles.push(
      ...judgeRole(
        role,
        attempts,
        await runProbe(programs, role, jail, { attempts, without: [], deadly: false, ...targets }),
      ),
    );
    kills.push(await proveKill(programs, role, jail, targets));
  }
  const alone: Proof[] = [];
  for (const lock of Object.keys(blockedAlone) as Lock[]) {
    const proof = await proveAlone(programs, lock, jailFor(root, sources), targets);
    if (proof !== undefined) alone.push(proof);
  }
  const proofs = [...inRoles, ...kills, ...alone, ...proveRunning(server)];
  for (const group of groupProofs(proofs)) tell(group);
  return proofs;
}
