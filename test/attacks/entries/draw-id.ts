/**
 * Draws an id as a starting server does, from a sequence that is the same for everybody, prints its pid and the id, and
 * holds it until its standard input ends.
 * @module
 */
import { writeSync } from 'node:fs';
import { pickUserId } from '../../../src/layers/2-isolation/jail/role-user.ts';
import { claimUser, hasProcesses } from '../../../src/linux/user-keys.ts';

let next = Number(process.argv[2]);
const uid = pickUserId({ draw: () => next++, inUse: hasProcesses, claim: claimUser });
writeSync(1, `${process.pid} ${uid ?? 'none'}\n`);
process.stdin.resume();
