/**
 * A short-lived process with the same jail and final filter as a role: makes escape attempts and reports the answers.
 *
 * The jail stage runs it: `node probe/main.js ROLE REQUEST SOCKET`. It writes one JSON line per answer to descriptor 3.
 * @module
 */
import { writeSync } from 'node:fs';
import { KwyreError } from '../base/errors.ts';
import { finalFilter } from '../layers/2-isolation/jail/seccomp-filters.ts';
import type { Attempt } from '../layers/2-isolation/probe/egress-attempts.ts';
import { egressAttempts, resultOf } from '../layers/2-isolation/probe/egress-attempts.ts';
import { localAttempts } from '../layers/2-isolation/probe/local-attempts.ts';
import { permissiveFilter } from '../layers/2-isolation/probe/permissive-filter.ts';
import { parseProbeRequest } from '../layers/2-isolation/probe/probe-request.ts';
import { setUndumpable } from '../linux/process.ts';
import { installFilter } from '../linux/seccomp.ts';
import type { Role } from '../policy/roles.ts';
import { roles } from '../policy/roles.ts';

process.title = 'kwyre: probe [jailed]';
process.exitCode = 1;
const [role = '', text = '', inherited = ''] = process.argv.slice(2);
const request = parseProbeRequest(text);
const targets = { ...request, inherited: Number(inherited) };
const filter = finalFilter(roles[role as Role]);
const known: Readonly<Record<string, Attempt>> = { ...egressAttempts, ...localAttempts };
const attempts = request.attempts.map((id) => {
  const attempt = known[id];
  if (attempt === undefined)
    throw new KwyreError('L2_PROBE_FAILED', 'unknown attempt', 'report this as a bug in Kwyre');
  return [id, attempt] as const;
});
setUndumpable();
if (!request.without.includes('seccomp-seal')) installFilter(request.deadly ? filter : permissiveFilter(filter));
for (const [id, attempt] of attempts)
  writeSync(3, `${JSON.stringify({ attempt: id, answer: resultOf(() => attempt.run(targets)) })}\n`);
writeSync(3, '{"done":true}\n');
process.exit(0);
