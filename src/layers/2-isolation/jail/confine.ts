/**
 * Confines this process: applies every restriction of a role's policy and reports what the kernel enforces.
 *
 * Promise: each restriction is read back or tested after it is applied; where that is impossible, the report says that
 *          the kernel accepted the rule. If a required feature is not fully enforced, the start fails unless the
 *          operator waived that feature by name.
 * Limits:  Landlock and the network namespace apply only to the calling thread, so execve must follow.
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

/** Facts about this process and the server it belongs to. */
type ConfinementInput = {
  readonly role: Role;
  readonly supervisor: number;
  readonly uid: number;
  /** The user to switch to; `undefined` keeps the current one. */
  readonly become: Identity | undefined;
  /** Read-only paths of this installation: code, libraries, the model. */
  readonly readable: readonly string[];
  /** Path of the Node binary; `undefined` if Node runs from memory. */
  readonly executable: string | undefined;
  readonly pid: number;
  /** Features that the operator waived by name. */
  readonly accepted: readonly string[];
  /** Whether the current user is an installation's system user. */
  readonly installed: boolean;
  /** Maximum number of threads for the user; `undefined` if other programs run as the same user. */
  readonly tasks: number | undefined;
  /** The current hard limit on open files. */
  readonly openFiles: number;
  /** Returns the name of this process's network namespace. */
  readonly readNetwork: () => string;
  /** Returns `/proc/self/status`. */
  readonly readStatus: () => string;
  /** Returns `net/dev`, the network interfaces, of this process or of pid 1; empty if hidden. */
  readonly readDevices: (of: 'self' | '1') => string;
  /** For a probe: features to leave out, and whether the filter kills or returns an error. */
  readonly probe?: { readonly without: readonly string[]; readonly deadly: boolean } | undefined;
};

/** The input of the jail stage, apart from the role or the probe request; `jail/main.ts` parses it. */
export type JailInput = {
  readonly readable: readonly string[];
  readonly uid?: number;
  readonly gid?: number;
  readonly accepted: readonly string[];
  /** Maximum number of threads for the user, if no other program runs as this user. */
  readonly tasks?: number;
  /** Whether the user is an installation's system user, to which the firewall rules apply. */
  readonly installed?: boolean;
};

/**
 * Applies the policy in the order that the kernel requires.
 * @returns one entry for each feature that applies to the role
 * @throws `L2_FEATURE_MISSING` if a required feature is not fully enforced
 */
export function confineSelf(here: ConfinementInput): Enforcement[] {
  const policy: Policy = roles[here.role];
  const kept = here.uid === 0 ? (policy.capabilities ?? []).map(([number]) => number) : [];
  const done: Enforcement[] = [];
  const isLeftOut = (feature: Feature): boolean =>
    policy.without?.some(([name]) => name === feature) === true || here.probe?.without.includes(feature) === true;
  const apply = (feature: Feature, requested: string, act: () => Outcome) => {
    if (isLeftOut(feature)) return;
    let outcome: Outcome;
    try {
      outcome = act();
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      outcome = {
        observed: `refused by the kernel (${error.message})`,
        status: 'none',
        reason: 'this kernel, container or user does not allow it',
      };
    }
    const entry: Enforcement = {
      feature,
      need: policy.features[feature],
      requested,
      observed: outcome.observed,
      status: outcome.status,
      reason: outcome.reason ?? '',
    };
    if (entry.need === 'required' && entry.status !== 'full' && !here.accepted.includes(feature)) {
      const why = [entry.observed, entry.reason].filter((text) => text !== '').join('; ');
      throw new KwyreError(
        'L2_FEATURE_MISSING',
        `the ${here.role} cannot be confined: ${feature}: ${why}`,
        remedyFor(feature),
      );
    }
    done.push(entry);
  };
  const observedIf = (seen: boolean, observed: string): Outcome => ({
    observed: seen ? observed : `not ${observed}`,
    status: seen ? 'full' : 'none',
  });

  apply('core-limit', 'no core dump', () => observedIf(setLimit(resources.core, 0), 'RLIMIT_CORE 0'));
  apply('file-size-limit', 'no file can grow', () => observedIf(setLimit(resources.fileSize, 0), 'RLIMIT_FSIZE 0'));
  apply('open-files-limit', `${policy.limits.openFiles} descriptors`, () => {
    // Raising a hard limit needs root; a limit that is already lower is stricter and stays.
    const most = Math.min(policy.limits.openFiles, here.openFiles);
    return observedIf(setLimit(resources.openFiles, most), `RLIMIT_NOFILE ${most}`);
  });
  apply('network-namespace', 'an empty network', () => {
    if (
      here.uid !== 0 &&
      onlyLoopback(here.readDevices('self')) &&
      here.readDevices('1') !== '' &&
      !onlyLoopback(here.readDevices('1'))
    )
      return { observed: 'an empty network namespace from the service manager, with only loopback', status: 'full' };
    if (here.uid !== 0)
      return {
        observed: 'the network of the machine',
        status: 'none',
        reason: 'without root it needs a user namespace, where the user could attach a debugger; seccomp blocks egress',
      };
    const before = here.readNetwork();
    enterEmptyNetwork();
    return observedIf(
      here.readNetwork() !== before && onlyLoopback(here.readDevices('self')),
      'an empty network namespace, with only loopback',
    );
  });
  apply('own-user', 'a user of its own', () => {
    if (here.installed) return { observed: `uid ${here.uid}, the user of the installation`, status: 'full' };
    if (here.uid !== 0)
      return {
        observed: `uid ${here.uid}, the user who started it`,
        status: 'none',
        reason: 'changing the user requires root; sudo ./kwyre isolate install gives the server a user of its own',
      };
    dropBoundingSet(kept);
    if (here.become === undefined)
      return {
        observed: 'root without capabilities',
        status: 'none',
        reason: 'no other user can read the folder of the program',
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
      return {
        observed: `uid ${uid} is not set everywhere`,
        status: 'none',
        reason: 'the kernel did not apply the change',
      };
    return isTransientUser(uid)
      ? { observed: `uid ${uid}, which no other process has`, status: 'full' }
      : {
          observed: `uid ${uid}, the owner of the program`,
          status: 'partial',
          reason: 'a user of its own could not read the folder of the program',
        };
  });
  // Set after switching the user: if that user already exceeds the limit, the kernel fails the next execve.
  apply('process-limit', 'a bounded number of threads', () => {
    if (here.tasks === undefined)
      return {
        observed: 'no limit',
        status: 'none',
        reason: 'other programs run as this user, and the kernel would count their threads',
      };
    return observedIf(
      setLimit(resources.tasks, here.tasks),
      `RLIMIT_NPROC ${here.tasks} for all processes of this user`,
    );
  });
  apply('capabilities', kept.length === 0 ? 'none' : `${kept.length}, by name`, () => {
    const mask = kept.reduce((sum, capability) => sum | (1n << BigInt(capability)), 0n);
    const exact = () =>
      ['CapEff', 'CapPrm', 'CapInh', 'CapAmb'].every(
        (name) => BigInt(`0x${statusField(here.readStatus(), name)}`) === mask,
      );
    // The installed service starts without capabilities, and its systemd unit blocks capset.
    if (!exact()) dropCapabilities(kept);
    return observedIf(exact(), kept.length === 0 ? 'no capability' : `capabilities ${kept.join(' and ')} and no other`);
  });
  apply('dies-with-supervisor', 'SIGKILL when the supervisor exits', () =>
    observedIf(dieWithParent(here.supervisor), 'PR_SET_PDEATHSIG SIGKILL'),
  );
  apply('no-new-privs', 'no privileges gained by execve', () => observedIf(setNoNewPrivs(), 'NoNewPrivs 1'));
  const plan = {
    read: [...policy.read.map(([path]) => path), ...here.readable, `/proc/${here.pid}`],
    execute: [...policy.execute.map(([path]) => path), ...(here.executable === undefined ? [] : [here.executable])],
  };
  const wanted = (Object.keys(landlockFeatures) as LandlockFeature[]).filter((feature) => !isLeftOut(feature));
  const landlocked = applyLandlock(plan, wanted, here.supervisor);
  for (const feature of wanted) apply(feature, landlockFeatures[feature].holds, () => landlocked(feature));
  apply('seccomp-start', 'no new socket, ring or process, from the start of the role', () => {
    const filter = startFilter(policy);
    installFilter(here.probe?.deadly === false ? permissiveFilter(filter) : filter);
    return observedIf(statusField(here.readStatus(), 'Seccomp') === '2', 'a seccomp filter on every thread');
  });
  return done;
}
