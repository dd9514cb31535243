/**
 * The six layers of the running server, from what was observed in this run; nothing is green by assumption.
 * @module
 */
import type { Check, Enforcement, LayerReport, LayerStatus } from '../base/verdict.ts';
import { layerNames, worst } from '../base/verdict.ts';
import type { Layer } from '../base/errors.ts';
import { listening, listenersOn, loopbackHex, parseSockets } from '../linux/procfs/net-tables.ts';
import { networkCheck } from '../layers/2-isolation/network-context.ts';
import { requiredOf } from '../policy/roles.ts';
import type { Role } from './roles/role-process.ts';

/** What the reports are made from. */
export type Observed = {
  readonly port: number;
  /** `/proc/net/tcp` and `tcp6` of the listener's namespace, read now. */
  readonly tcp: string;
  readonly tcp6: string;
  /** Whether [::1] on the port is ours, read now; else why nobody can take it. */
  readonly ipv6: { readonly held: boolean; readonly reason: string };
  /** How many routes were seen to refuse a request without a token. */
  readonly closedRoutes: number;
  readonly enforced: Readonly<Record<Role, readonly Enforcement[]>>;
  /** `/proc/self/net/dev` of the supervisor, and the kernel's release. */
  readonly devices: string;
  readonly release: string;
  /** Layer 2: what the self-probe saw. */
  readonly probes: readonly Check[];
  /** What holds the supervisor itself; empty until it is confined. */
  readonly confined: string;
  /** Whether it runs as a user of its own, who owns no file but its state. */
  readonly installed: boolean;
  readonly accepted: readonly string[];
  /** Layer 3 and 4, as verified at the start of this run. */
  readonly tree: readonly Check[];
  readonly model: readonly Check[];
  /** Layer 5, as the engine reported it. */
  readonly memory: readonly Check[];
  /** Layer 6, from the last scan. */
  readonly watchdog: readonly Check[];
  readonly now: number;
};

/** The most that is read of a table of sockets, in bytes; the kernel lists what listens first. */
export const mostTable = 1 << 20;

/** Whether a table was cut among what listens, so that more may listen than it shows. */
export function cutShort(table: string): boolean {
  const whole = table.slice(0, table.lastIndexOf('\n'));
  return table.length >= mostTable && parseSockets('tcp', whole).at(-1)?.state === listening;
}

function loopback(seen: Observed): Check[] {
  const four = listenersOn(seen.port, [seen.tcp]);
  const six = listenersOn(seen.port, [seen.tcp6]);
  const cut = cutShort(seen.tcp) || cutShort(seen.tcp6);
  const only = !cut && four.length === 1 && four[0]?.local === loopbackHex(seen.port) && six.length === 0;
  return [
    {
      id: 'listener',
      status: only ? 'enforced' : 'degraded',
      evidence: only
        ? `the kernel's table shows 127.0.0.1:${seen.port} and no other listener on that port`
        : cut
          ? 'more sockets listen on this machine than are read: another listener on that port would not be seen'
          : `the kernel's table shows ${four.length + six.length} listeners on port ${seen.port}`,
      at: seen.now,
    },
    ipv6(seen, six.length),
    {
      id: 'token',
      status: seen.closedRoutes > 0 ? 'enforced' : 'degraded',
      evidence:
        seen.closedRoutes > 0
          ? `tried at its start: ${seen.closedRoutes} routes refuse a request without a token, and one with a token that nobody has; the gateway holds digests only`
          : 'the gateway is still starting',
      at: seen.now,
    },
  ];
}

const extents: Readonly<Record<Enforcement['status'], LayerStatus>> = {
  full: 'enforced',
  partial: 'degraded',
  none: 'off',
};

/** Whether somebody else can answer clients that say `localhost`: read from the kernel now. */
function ipv6(seen: Observed, listening: number): Check {
  const { held, reason } = seen.ipv6;
  const evidence = held
    ? `[::1]:${seen.port} is bound by us without listening, so that nobody else can`
    : `${reason}; the kernel's table shows ${listening === 0 ? 'nobody' : 'somebody'} there`;
  return {
    id: 'ipv6-held',
    status: listening === 0 && (held || reason !== '') ? 'enforced' : 'degraded',
    evidence,
    at: seen.now,
  };
}

/**
 * One check per feature and role; a waived, missing or unreported required feature degrades, a missing preferred one is
 * shown.
 */
function isolation(seen: Observed): Check[] {
  return (['gateway', 'engine'] as const).flatMap((role) => {
    const reported = seen.enforced[role];
    const silent = requiredOf(role).filter((feature) => !reported.some((entry) => entry.feature === feature));
    return [
      ...reported.map((entry): Check => ({
        id: `${role}.${entry.feature}`,
        status: extents[entry.status],
        evidence: entry.reason === '' ? entry.observed : `${entry.observed}: ${entry.reason}`,
        at: seen.now,
      })),
      ...silent.map((feature): Check => ({
        id: `${role}.${feature}`,
        status: 'degraded',
        evidence: 'not reported by this process',
        at: seen.now,
      })),
    ];
  });
}

const waived = 'waived';

/** What the operator gave up by name: the layer is degraded for as long as that stands. */
function waivers(seen: Observed): Check[] {
  return seen.accepted.map((feature) => ({
    id: `${waived}.${feature}`,
    status: 'degraded',
    evidence: `given up by the operator (--accept-weaker=${feature}): it would not have refused the start`,
    at: seen.now,
  }));
}

/** Whether both roles are in empty networks, by what their jails read back. */
function apart(seen: Observed): boolean {
  return (['gateway', 'engine'] as const).every((role) =>
    seen.enforced[role].some((entry) => entry.feature === 'network-namespace' && entry.status === 'full'),
  );
}

/** The supervisor's own check. */
const supervisorCheck = 'supervisor.confined';

/**
 * The filter holds the network part everywhere; files are held by a user who owns none, which is what installing gives.
 */
function supervisor(seen: Observed): Check {
  const files = seen.installed
    ? 'it runs as a user of its own, who owns no file but its state'
    : 'it may write what its user may: ./kwyre isolate install gives it a user of its own';
  return {
    id: supervisorCheck,
    status: seen.confined !== '' && seen.installed ? 'enforced' : 'degraded',
    evidence:
      seen.confined === ''
        ? 'the supervisor puts its filter on a few seconds after the start'
        : `${seen.confined}; ${files}`,
    at: seen.now,
  };
}

/** The reports of `GET /kwyre/status`. */
export function reportLayers(seen: Observed): LayerReport[] {
  const memory = (['gateway', 'engine'] as const).map((role): Check => {
    const core = seen.enforced[role].find((entry) => entry.feature === 'core-limit');
    return {
      id: `${role}.no-core-dump`,
      status: core?.status === 'full' ? 'enforced' : 'degraded',
      evidence: core?.observed ?? 'not reported',
      at: seen.now,
    };
  });
  const checks: Readonly<Record<Layer, readonly Check[]>> = {
    1: loopback(seen),
    2: [
      ...isolation(seen),
      ...waivers(seen),
      ...seen.probes,
      networkCheck(seen.devices, seen.release, apart(seen), seen.now),
      supervisor(seen),
    ],
    3: seen.tree,
    4: seen.model,
    5: [...memory, ...seen.memory],
    6: seen.watchdog,
  };
  return ([1, 2, 3, 4, 5, 6] as const).map((layer) => {
    const required = checks[layer].filter((check) => counts(layer, check));
    return { layer, name: layerNames[layer], status: worst(required), checks: checks[layer] };
  });
}

/** Whether a check decides what its layer is called; the others are shown beside it. */
function counts(layer: Layer, check: Check): boolean {
  // What only root could see is off, and by itself no fault of the watchdog.
  if (layer === 6) return check.id === 'scan' || check.status !== 'off';
  if (layer !== 2 || check.id === supervisorCheck) return true;
  const [role, feature] = check.id.split('.') as [Role, string];
  if ((role as string) === waived || feature === 'self-probe' || feature === 'living') return true;
  if ((role as string) === 'network') return false; // told beside the features that hold there
  if (feature === 'alone') return check.status !== 'off'; // a lock that this user or kernel does not have is shown by its feature
  return requiredOf(role).some((required) => required === feature);
}
