/**
 * The report on layer 1: which sockets listen on the port, what holds [::1], and whether the API requires a token.
 *
 * Promise: the socket tables are read anew for each report. A truncated table counts as degraded, not as clean.
 * Proof:   test/unit/layers/layer-status.test.ts, test/attacks/1-bind.test.ts
 * @module
 */
import type { Check, LayerReport } from '../../base/verdict.ts';
import { layerReport } from '../../base/verdict.ts';
import { listenersOn, listening, loopbackHex, parseSockets } from '../../linux/procfs/net-tables.ts';
import type { SocketRow } from '../../linux/procfs/net-tables.ts';

/** The supervisor's observations for this report. */
type LoopbackFacts = {
  readonly port: number;
  /** `/proc/net/tcp` and `tcp6` in the network namespace of the listener, at most {@link maxTableBytes} of each. */
  readonly tcp: string;
  readonly tcp6: string;
  /** Whether the kernel shows this server's reservation of [::1]:port; if not, `reason` explains why. */
  readonly ipv6: { readonly held: boolean; readonly reason: string };
  /** Number of routes that refused requests without a valid token when the gateway tested them; 0 before the test. */
  readonly closedRoutes: number;
};

/** Maximum number of bytes read from a socket table. The kernel lists listening sockets first. */
export const maxTableBytes = 1 << 20;

/** Returns whether a table was truncated within its listening sockets, so there may be more of them. @internal */
export function isCutAmongListeners(table: string): boolean {
  const wholeLines = table.slice(0, table.lastIndexOf('\n'));
  return table.length >= maxTableBytes && parseSockets('tcp', wholeLines).at(-1)?.state === listening;
}

function listenerCheck(
  { port, tcp, tcp6 }: LoopbackFacts,
  ipv4: readonly SocketRow[],
  ipv6: readonly SocketRow[],
): Check {
  const at = Date.now();
  const id = 'listener';
  if (isCutAmongListeners(tcp) || isCutAmongListeners(tcp6))
    return {
      id,
      status: 'degraded',
      evidence: 'the socket table is too long to read in full, so another listener on the port could be missed',
      at,
    };
  const only = ipv4.length === 1 && ipv4[0]?.local === loopbackHex(port) && ipv6.length === 0;
  return {
    id,
    status: only ? 'enforced' : 'degraded',
    evidence: only
      ? `the kernel's socket table shows 127.0.0.1:${port} and no other listener on that port`
      : `the kernel's socket table shows ${ipv4.length + ipv6.length} listeners on port ${port}`,
    at,
  };
}

/** Checks whether another process can answer clients that connect to `localhost` over IPv6. */
function ipv6Check({ port, ipv6: { held, reason } }: LoopbackFacts, listeners: number): Check {
  return {
    id: 'ipv6-held',
    status: listeners === 0 && (held || reason !== '') ? 'enforced' : 'degraded',
    evidence: held
      ? `[::1]:${port} is bound by this server and does not listen, so no other process can take it`
      : `${reason}; the kernel's socket table shows ${listeners === 0 ? 'no listener' : 'another listener'} there`,
    at: Date.now(),
  };
}

/** Returns the report on layer 1. */
export function loopbackReport(facts: LoopbackFacts): LayerReport {
  const ipv4 = listenersOn(facts.port, [facts.tcp]);
  const ipv6 = listenersOn(facts.port, [facts.tcp6]);
  const { closedRoutes } = facts;
  return layerReport(1, [
    listenerCheck(facts, ipv4, ipv6),
    ipv6Check(facts, ipv6.length),
    {
      id: 'token',
      status: closedRoutes > 0 ? 'enforced' : 'degraded',
      evidence:
        closedRoutes > 0
          ? `tested at the start: ${closedRoutes} routes refuse requests without a token and with an unknown one; ` +
            'the gateway holds only digests of tokens'
          : 'the gateway is still starting',
      at: Date.now(),
    },
  ]);
}
