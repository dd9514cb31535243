/**
 * The jail stage's work: every restriction that a role's policy asks for, applied once to this process, reported as
 * seen.
 *
 * Promise: what is reported was read back or tried after it was applied; where that cannot be done the words say that
 *          the kernel took it. A required feature that is less than full refuses the start, unless the operator gave it
 *          up by name.
 * Limits:  must be followed by execve: Landlock and the namespace bind the calling thread only.
 * Proof:   test/attacks/2-jail.test.ts
 * @module
 */
import { statusField } from '../../../linux/procfs/task-status.ts';
import { KwyreError } from '../../../base/errors.ts';
import type { Enforcement, Outcome } from '../../../base/verdict.ts';
import { LinuxError } from '../../../linux/ffi.ts';
import {
  becomeUser,
  dieWithParent,
  dropBoundingSet,
  dropCapabilities,
  enterEmptyNetwork,
  keepCapabilitiesOnce,
  resources,
  setLimit,
  setNoNewPrivs,
} from '../../../linux/process.ts';
import { installFilter } from '../../../linux/seccomp.ts';
import type { Feature, LandlockFeature, Policy } from '../../../policy/role-policy.ts';
import type { Role } from '../../../policy/roles.ts';
import { roles } from '../../../policy/roles.ts';
import { landlockFeatures } from './landlock-abi.ts';
import { startFilter } from './seccomp-filters.ts';
import type { Identity } from './role-user.ts';
import { isTransientUser } from './role-user.ts';
import { applyLandlock } from './landlock-rules.ts';
import { permissiveFilter } from '../probe/permissive-filter.ts';
import { onlyLoopback } from '../network-context.ts';
import { remedyFor } from '../waiver-check.ts';

/** What the stage is told about this machine and this start. */
export type ConfinementInput = {
  readonly role: Role;
  readonly supervisor: number;
  readonly uid: number;
  /** Whom to become; `undefined` keeps the user. */
  readonly become: Identity | undefined;
  /** Read-only paths of this installation: code, libraries, the model. */
  readonly readable: readonly string[];
  /** The Node binary; `undefined` when it runs from memory. */
  readonly executable: string | undefined;
  readonly pid: number;
  /** Features that the operator gave up by name. */
  readonly accepted: readonly string[];
  /** Whether this user is the one of an installation. */
  readonly installed: boolean;
  /** How many threads the user may have; `undefined` where the user is not ours alone. */
  readonly tasks: number | undefined;
  /** The hard limit of open files that this process was started with. */
  readonly openFiles: number;
  /** The name of the network namespace that this process is in. */
  readonly readNetwork: () => string;
  /** This process's own `/proc/self/status`. */
  readonly readStatus: () => string;
  /**
   * `net/dev` of this process or of the machine's first: the interfaces of the network that it is in; empty when
   * hidden.
   */
  readonly readDevices: (of: 'self' | '1') => string;
  /** For a probe alone: features to leave out, and whether the filter kills or answers. */
  readonly probe?: { readonly without: readonly string[]; readonly deadly: boolean } | undefined;
};

/**
 * Applies the plan in the order that the kernel allows.
 * @throws `L2_FEATURE_MISSING`
 */
export function confineSelf(here: ConfinementInput): Enforcement[] {
  const policy: Policy = roles[here.role];
  const kept = here.uid === 0 ? (policy.capabilities ?? []).map(([number]) => number) : [];
  const done: Enforcement[] = [];
  const isLeftOut = (feature: Feature): boolean =>
    policy.without?.some(([name]) => name === feature) === true || here.probe?.without.includes(feature) === true;
  const apply = (feature: Feature, asked: string, act: () => Outcome) => {
    if (isLeftOut(feature)) return;
    let outcome: Outcome;
    try {
      outcome = act();
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      outcome = {
        got: `refused by the kernel (${error.message})`,
        status: 'none',
        reason: 'this kernel, container or user may not do it',
      };
    }
    const entry: Enforcement = {
      feature,
      need: policy.features[feature],
      asked,
      got: outcome.got,
      status: outcome.status,
      reason: outcome.reason ?? '',
    };
    if (entry.need === 'required' && entry.status !== 'full' && !here.accepted.includes(feature)) {
      throw new KwyreError(
        'L2_FEATURE_MISSING',
        `the ${here.role} cannot be confined: ${feature}: ${entry.got}${entry.reason === '' ? '' : `; ${entry.reason}`}`,
        remedyFor(feature),
      );
    }
    done.push(entry);
  };
  const observed = (seen: boolean, got: string): Outcome => ({
    got: seen ? got : `not ${got}`,
    status: seen ? 'full' : 'none',
  });

  apply('core-limit', 'no core dump', () => observed(setLimit(resources.core, 0), 'RLIMIT_CORE 0'));
  apply('file-size-limit', 'no file grows', () => observed(setLimit(resources.fileSize, 0), 'RLIMIT_FSIZE 0'));
  apply('open-files-limit', `${policy.limits.openFiles} descriptors`, () => {
    // Only root may raise a hard limit; one that is lower holds the role more closely.
    const most = Math.min(policy.limits.openFiles, here.openFiles);
    return observed(setLimit(resources.openFiles, most), `RLIMIT_NOFILE ${most}`);
  });
  apply('network-namespace', 'an empty network', () => {
    if (
      here.uid !== 0 &&
      onlyLoopback(here.readDevices('self')) &&
      here.readDevices('1') !== '' &&
      !onlyLoopback(here.readDevices('1'))
    )
      return { got: 'a network with nothing but a loopback of its own, made by the service manager', status: 'full' };
    if (here.uid !== 0)
      return {
        got: 'the network of the machine',
        status: 'none',
        reason:
          'only root can make one without a user namespace, which would let a debugger of the same user in; seccomp is the wall here',
      };
    const before = here.readNetwork();
    enterEmptyNetwork();
    return observed(
      here.readNetwork() !== before && onlyLoopback(here.readDevices('self')),
      'a network of its own with nothing but a loopback',
    );
  });
  apply('own-user', 'a user of its own', () => {
    if (here.installed) return { got: `uid ${here.uid}, the user of the installation`, status: 'full' };
    if (here.uid !== 0)
      return {
        got: `uid ${here.uid}, the user who started it`,
        status: 'none',
        reason: 'only root can change the user; install the service for a user of its own',
      };
    dropBoundingSet(kept);
    if (here.become === undefined)
      return {
        got: 'root without capabilities',
        status: 'none',
        reason: 'the program lies in a folder that no other user can read',
      };
    if (kept.length > 0) keepCapabilitiesOnce();
    const { uid, gid } = here.become;
    becomeUser(uid, gid);
    const seen = here.readStatus();
    const became =
      [
        ['Uid', uid],
        ['Gid', gid],
      ].every(([name, id]) =>
        statusField(seen, String(name))
          .split(/\s+/)
          .every((one) => one === String(id)),
      ) && statusField(seen, 'Groups') === '';
    if (!became)
      return { got: `not uid ${uid} in all places`, status: 'none', reason: 'the kernel did not take the change' };
    return isTransientUser(uid)
      ? { got: `uid ${uid}, which nobody else has`, status: 'full' }
      : {
          got: `uid ${uid}, who owns the program`,
          status: 'partial',
          reason: 'the program lies in a folder that no user of its own can read',
        };
  });
  // After the change of user: the kernel holds a limit that is passed already against the next execve.
  apply('process-limit', 'no more threads than it needs', () => {
    if (here.tasks === undefined)
      return {
        got: 'no limit',
        status: 'none',
        reason: 'the user is not ours alone, and the kernel would count everything that it runs',
      };
    return observed(setLimit(resources.tasks, here.tasks), `RLIMIT_NPROC ${here.tasks} for all processes of this user`);
  });
  apply('capabilities', kept.length === 0 ? 'none' : `${kept.length}, by name`, () => {
    const mask = kept.reduce((sum, capability) => sum | (1n << BigInt(capability)), 0n);
    const exact = () =>
      ['CapEff', 'CapPrm', 'CapInh', 'CapAmb'].every(
        (name) => BigInt(`0x${statusField(here.readStatus(), name)}`) === mask,
      );
    // The installed service has none from the start, and its unit refuses the call itself.
    if (!exact()) dropCapabilities(kept);
    return observed(
      exact(),
      kept.length === 0 ? 'without any capability' : `with capabilities ${kept.join(' and ')} only`,
    );
  });
  apply('dies-with-supervisor', 'SIGKILL with the supervisor', () =>
    observed(dieWithParent(here.supervisor), 'PR_SET_PDEATHSIG SIGKILL'),
  );
  apply('no-new-privs', 'no gain by execve', () => observed(setNoNewPrivs(), 'NoNewPrivs 1'));
  const plan = {
    read: [...policy.read.map(([path]) => path), ...here.readable, `/proc/${here.pid}`],
    execute: [...policy.execute.map(([path]) => path), ...(here.executable === undefined ? [] : [here.executable])],
  };
  const wanted = (Object.keys(landlockFeatures) as LandlockFeature[]).filter((feature) => !isLeftOut(feature));
  const landlocked = applyLandlock(plan, wanted, here.supervisor);
  for (const feature of wanted) apply(feature, landlockFeatures[feature].holds, () => landlocked(feature));
  apply('seccomp-start', 'no socket, no ring, no other process, from the start of the role on', () => {
    const filter = startFilter(policy);
    installFilter(here.probe?.deadly === false ? permissiveFilter(filter) : filter);
    return observed(statusField(here.readStatus(), 'Seccomp') === '2', 'a seccomp filter on every thread');
  });
  return done;
}
