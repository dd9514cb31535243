/**
 * Layer 2: every system call that a policy names, and those that it leaves out, one after another under the real
 * filters of each role and of the supervisor: the kernel's answer is the one that stands in a second list
 * (`test/support/calls.ts`).
 *
 * The filters are the only locks here, so that no other one hides that a row is missing; what kills is permissiveErrno to an
 * answer. That a role has them on, and dies, is attacked in `2-jail.test.ts` and `2-live.test.ts`.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { systemCalls } from '../../src/linux/syscalls.ts';
import { roles } from '../../src/policy/roles.ts';
import type { Role } from '../../src/policy/roles.ts';
import { forbidden, forbiddenAfterStart } from '../../src/policy/forbidden-calls.ts';
import { startConditions } from '../../src/policy/conditional-calls.ts';
import { narrowedForSupervisor, refusedToSupervisor } from '../../src/policy/supervisor-rights.ts';
import type { Expected } from '../support/calls.ts';
import { atStart, deathAnswer, inSupervisor, sealed } from '../support/calls.ts';
import { endWithUs } from '../support/children.ts';
import { stripped } from '../support/stripped.ts';

async function answersOf(
  who: string,
  when: string,
): Promise<{ code: number | null; signal: string | null; answers: Record<string, number> }> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', stripped('test/attacks/entries/every-call.ts'), who, when],
    { env: {}, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  endWithUs(child);
  let output = '';
  let noise = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (noise += chunk.toString()));
  const late = setTimeout(() => child.kill('SIGKILL'), 30_000);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...ending) => {
      resolve(ending);
    }),
  );
  clearTimeout(late);
  assert.ok(output.startsWith('{'), `${String(code)} ${String(signal)}: ${output}${noise}`);
  return { code, signal, answers: JSON.parse(output) as Record<string, number> };
}

/** Rows whose answer is another than the expected one, in words. */
function faults(rows: readonly Expected[], answers: Readonly<Record<string, number>>): string[] {
  return rows.flatMap(({ title, answer }) => {
    const got = answers[title];
    if (got === undefined) return [`${title}: not tried`];
    if (answer === 'made')
      return got === 1 || got === 38 || got === deathAnswer ? [`${title}: the filter answered ${got}`] : [];
    const wanted = answer === 'death' ? deathAnswer : answer;
    return got === wanted ? [] : [`${title}: ${got} instead of ${answer === 'death' ? 'death' : wanted}`];
  });
}

for (const role of Object.keys(roles) as Role[]) {
  test(`from its start on the ${role} gets the answers of the list`, async () => {
    const { answers } = await answersOf(role, 'start');
    assert.deepEqual(faults(atStart(role), answers), []);
  });

  test(`the sealed ${role} gets the answers of the list, handles a signal, and ends by itself`, async () => {
    const { answers, code } = await answersOf(role, 'sealed');
    assert.deepEqual(faults(sealed(role), answers), []);
    assert.equal(answers['a signal was handled'], 0);
    assert.equal(code, 7);
  });
}

test('the confined supervisor gets the answers of the list', async () => {
  const { answers } = await answersOf('supervisor', 'confined');
  assert.deepEqual(faults(inSupervisor(), answers), []);
});

test('without its filter the supervisor gets other answers', async (t) => {
  const rows = inSupervisor();
  const free = (await answersOf('supervisor', 'free')).answers;
  const hidden = rows.filter(({ title, answer }) => answer === 1 && free[title] === 1).map(({ title }) => title);
  t.diagnostic(`refused to this user without the filter, too: ${hidden.join(', ') || 'none'}`);
  assert.ok(hidden.length < rows.length / 2);
});

test('every call that a policy names has a number here: a row without one would be left out of the filter', () => {
  const named = [...forbidden, ...forbiddenAfterStart, ...refusedToSupervisor].map(([call]) => call);
  for (const policy of Object.values(roles))
    named.push(
      ...policy.calls.map(([call]) => call),
      ...policy.answered.map(([call]) => call),
      ...policy.forbidden.map(([call]) => call),
      ...policy.conditions.map(({ call }) => call),
    );
  named.push(...startConditions.map(({ call }) => call), ...narrowedForSupervisor.map(({ call }) => call));
  assert.deepEqual(
    [...new Set(named)].filter((call) => systemCalls.x64[call] === undefined),
    [],
  );
});
