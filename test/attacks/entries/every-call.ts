/**
 * Tries a list of system calls under one of the product's filters, permissiveErrno where it would kill, and prints a line of
 * JSON: the answer to each by its title, 0 or an error number.
 *
 * Arguments: a role or `supervisor`, and `start`, `sealed`, or `free` for no filter at all (the control).
 * @module
 */
import { finalFilter, startFilter } from '../../../src/layers/2-isolation/jail/seccomp-filters.ts';
import { permissiveFilter } from '../../../src/layers/2-isolation/probe/permissive-filter.ts';
import { confineSupervisor } from '../../../src/layers/2-isolation/jail/supervisor-filter.ts';
import { LinuxError, libc } from '../../../src/linux/ffi.ts';
import { setNoNewPrivs } from '../../../src/linux/process.ts';
import { callByName } from '../../../src/linux/syscalls.ts';
import { installFilter } from '../../../src/linux/seccomp.ts';
import type { Role } from '../../../src/policy/roles.ts';
import { roles } from '../../../src/policy/roles.ts';
import { atStart, inSupervisor, sealed } from '../../support/calls.ts';

const [who = '', when = '', image] = process.argv.slice(2);
if (image === undefined) {
  // Node makes a ring when it starts, which walks around later filters. Its refusal is another one than the policy's.
  setNoNewPrivs();
  installFilter({ rules: [{ call: 'io_uring_setup', action: { errno: 1 } }], otherwise: 'allow' });
  process.execve!(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1), 'second'], {});
}
const rows = who === 'supervisor' ? inSupervisor() : when === 'start' ? atStart(who as Role) : sealed(who as Role);
// A signal that comes later: its handler returns by a call of its own.
const rung = new Promise<number>((resolve) => {
  process.on('SIGALRM', () => {
    resolve(0);
  });
});
const alarm = libc.func('unsigned int ualarm(unsigned int microseconds, unsigned int interval)') as (
  microseconds: number,
  interval: number,
) => number;

if (when !== 'free') {
  if (who === 'supervisor') confineSupervisor();
  else {
    installFilter(permissiveFilter(startFilter(roles[who as Role])));
    alarm(50_000, 0);
    if (when === 'sealed') installFilter(permissiveFilter(finalFilter(roles[who as Role])));
  }
}
const answers: Record<string, number> = {};
for (const { title, call, args } of rows) {
  if (when === 'free' && (call === 'vfork' || call === 'clone')) continue;
  try {
    const made = callByName(call, ...args);
    // A process that should not be there.
    if (['fork', 'vfork', 'clone'].includes(call) && made === 0) callByName('exit_group', 3);
    answers[title] = 0;
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    answers[title] = error.errno;
  }
}
if (when === 'sealed') {
  answers['a signal was handled'] = await Promise.race([
    rung,
    new Promise<number>((resolve) => setTimeout(resolve, 5000, -1)),
  ]);
}
console.log(JSON.stringify(answers));
// Where it is refused, Node's own end takes over, with another code.
if (who !== 'supervisor' && when === 'sealed') callByName('exit_group', 7);
