/**
 * A throw-away process in the jail of a role, sealed like it: tries what the role must not be able to do, and tells.
 *
 * Run by the jail stage alone: `node probe/main.js ROLE ORDER SOCKET`; one JSON line for each answer on descriptor 3.
 * @module
 */
import { writeSync } from 'node:fs';
import { KwyreError } from '../base/errors.ts';
import type { WayOut } from '../layers/2-isolation/probe/probe-verdict.ts';
import { finalFilter } from '../layers/2-isolation/jail/seccomp-filters.ts';
import { parseProbeRequest } from '../layers/2-isolation/probe/probe-request.ts';
import { permissiveFilter } from '../layers/2-isolation/probe/permissive-filter.ts';
import { setUndumpable } from '../linux/process.ts';
import { installFilter } from '../linux/seccomp.ts';
import type { Role } from '../policy/roles.ts';
import { roles } from '../policy/roles.ts';
import { answerOf, waysOutOf } from './egress-attempts.ts';
import { deeds } from './other-attempts.ts';

process.title = 'kwyre: probe [jailed]';
process.exitCode = 1;
const [role = '', text = '', inherited = ''] = process.argv.slice(2);
const order = parseProbeRequest(text);
const seal = finalFilter(roles[role as Role]);
const attempts: Readonly<Record<string, () => unknown>> = {
  ...deeds,
  ...waysOutOf({ ...order, inherited: Number(inherited) }),
} satisfies Record<WayOut, unknown>;
const tried = order.attempts.map((name) => {
  const attempt = attempts[name];
  if (attempt === undefined) throw new KwyreError('L2_PROBE_FAILED', 'the probe knows no such attempt');
  return [name, attempt] as const;
});
setUndumpable();
if (!order.without.includes('seccomp-seal')) installFilter(order.deadly ? seal : permissiveFilter(seal));
for (const [name, attempt] of tried) writeSync(3, `${JSON.stringify({ attempt: name, answer: answerOf(attempt) })}\n`);
writeSync(3, '{"done":true}\n');
process.exit(0);
