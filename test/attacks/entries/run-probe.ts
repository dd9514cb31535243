/**
 * Runs one probe from wherever this is started (a network namespace of a test) at a target of the caller's, and prints
 * the answers.
 *
 * Run: `node run-probe.ts ROLE WITHOUT,… A.B.C.D PORT ATTEMPT,…`
 * @module
 */
import type { Address } from '../../../src/linux/procfs/unused-address.ts';
import type { Role } from '../../../src/policy/roles.ts';
import { probe } from '../../support/probe.ts';

const [role = '', without = '', address = '', port = '', attempts = ''] = process.argv.slice(2);
const machine = address.split('.').map(Number) as unknown as Address;
const words = (list: string): string[] => list.split(',').filter((word) => word !== '');
const probed = await probe(
  undefined,
  role as Role,
  { machine, closedPort: Number(port), servedPort: Number(port) },
  words(attempts),
  words(without),
);
console.log(JSON.stringify({ answers: [...probed.answers], complete: probed.complete, output: probed.output }));
process.exit(0);
