/**
 * The report on layer 2: every jail feature of each role, the operator's waivers, the self-probe, and the supervisor's
 * own filter.
 *
 * Promise: a required feature that is waived, missing or unreported degrades the layer; a preferred feature is only
 *          shown.
 * Proof:   test/unit/layers/layer-status.test.ts, test/attacks/2-waivers.test.ts
 * @module
 */
import type { Check, Enforcement, LayerReport, LayerStatus } from '../../base/verdict.ts';
import { layerReport } from '../../base/verdict.ts';
import { statusField } from '../../linux/procfs/task-status.ts';
import { requiredOf } from '../../policy/roles.ts';
import type { Role } from '../../policy/roles.ts';
import { networkCheck } from './network-context.ts';

/** The roles that handle requests; layer 6 reports the watchdog's jail. */
type ServingRole = 'gateway' | 'engine';
const servingRoles: readonly ServingRole[] = ['gateway', 'engine'];

/** The supervisor's observations for this report. */
type IsolationFacts = {
  /** The restrictions that the jail and the final filter of each role reported. */
  readonly enforced: Readonly<Record<ServingRole, readonly Enforcement[]>>;
  /** Features that the operator waived with `--accept-weaker`. */
  readonly accepted: readonly string[];
  /** Checks of the self-probe. */
  readonly probes: readonly Check[];
  /** `/proc/net/dev` of the supervisor, and the kernel's release. */
  readonly devices: string;
  readonly release: string;
  /** The restrictions on the supervisor itself; empty before its filter is installed. */
  readonly confined: string;
  /** Whether the supervisor runs as an installation's system user, which owns nothing but its state. */
  readonly installed: boolean;
};

const statusOf: Readonly<Record<Enforcement['status'], LayerStatus>> = {
  full: 'enforced',
  partial: 'degraded',
  none: 'off',
};

/** Returns one check per feature and role. */
function featureChecks({ enforced }: IsolationFacts): Check[] {
  const at = Date.now();
  return servingRoles.flatMap((role) => {
    const reported = enforced[role];
    const missing = requiredOf(role).filter((feature) => !reported.some((entry) => entry.feature === feature));
    return [
      ...reported.map((entry): Check => ({
        id: `${role}.${entry.feature}`,
        status: statusOf[entry.status],
        evidence: entry.reason === '' ? entry.observed : `${entry.observed}: ${entry.reason}`,
        at,
      })),
      ...missing.map((feature): Check => ({
        id: `${role}.${feature}`,
        status: 'degraded',
        evidence: 'not reported by this process',
        at,
      })),
    ];
  });
}

const waivedPrefix = 'waived';

function waiverChecks({ accepted }: IsolationFacts): Check[] {
  return accepted.map((feature) => ({
    id: `${waivedPrefix}.${feature}`,
    status: 'degraded',
    evidence: `waived by the operator (--accept-weaker=${feature}): the server starts without it`,
    at: Date.now(),
  }));
}

/** Returns whether both roles reported an empty network namespace. */
function haveOwnNetworks({ enforced }: IsolationFacts): boolean {
  return servingRoles.every((role) =>
    enforced[role].some((entry) => entry.feature === 'network-namespace' && entry.status === 'full'),
  );
}

const supervisorId = 'supervisor.confined';

/** The filter keeps the supervisor off the network; only a dedicated user keeps it away from other files. */
function supervisorCheck({ confined, installed }: IsolationFacts): Check {
  const files = installed
    ? 'it runs as a user of its own, who owns no files but its state'
    : 'it can write whatever its user can; ./kwyre isolate install gives it a user of its own';
  return {
    id: supervisorId,
    status: confined !== '' && installed ? 'enforced' : 'degraded',
    evidence:
      confined === '' ? 'the supervisor installs its filter a few seconds after the start' : `${confined}; ${files}`,
    at: Date.now(),
  };
}

/** Returns whether a check decides the status of the layer. */
function isDecisive({ id, status }: Check): boolean {
  if (id === supervisorId) return true;
  const [role = '', feature = ''] = id.split('.');
  if (role === waivedPrefix || feature === 'self-probe' || feature === 'living') return true;
  if (role === 'network') return false; // shown beside the features that isolate the roles
  if (feature === 'alone') return status !== 'off'; // the feature's own check reports a missing mechanism
  return requiredOf(role as Role).some((required) => required === feature);
}

/** Returns the report on layer 2. */
export function isolationReport(facts: IsolationFacts): LayerReport {
  const checks = [
    ...featureChecks(facts),
    ...waiverChecks(facts),
    ...facts.probes,
    networkCheck(facts.devices, facts.release, haveOwnNetworks(facts), Date.now()),
    supervisorCheck(facts),
  ];
  return layerReport(2, checks, checks.filter(isDecisive));
}

/** Number of filters that a role installs itself: the start filter and the final filter. */
const ownFilters = 2;

/**
 * Checks what the kernel reports about a running role's threads: no_new_privs, and filters beyond the inherited ones.
 * @param threads - `status` of each thread; empty when the process has ended
 * @param inherited - number of filters that the role inherited at its start
 */
export function livingCheck(role: Role, threads: readonly string[], inherited: number): Check {
  const id = `${role}.living`;
  const at = Date.now();
  if (threads.length === 0) return { id, status: 'degraded', evidence: 'the process is not running', at };
  const values = (name: string): string[] => [...new Set(threads.map((text) => statusField(text, name)))];
  const [seccomp, filters, noNewPrivs] = [values('Seccomp'), values('Seccomp_filters'), values('NoNewPrivs')];
  // Linux before 5.9 does not count filters.
  const enough = filters.every((count) => count === '' || Number(count) >= inherited + ownFilters);
  return {
    id,
    status: seccomp.join() === '2' && noNewPrivs.join() === '1' && enough ? 'enforced' : 'degraded',
    evidence:
      `/proc/PID/task of ${threads.length} threads: Seccomp ${seccomp.join(' and ')}, ` +
      `${filters.map((count) => (count === '' ? 'uncounted' : count)).join(' and ')} filters, ` +
      `NoNewPrivs ${noNewPrivs.join(' and ')}`,
    at,
  };
}
