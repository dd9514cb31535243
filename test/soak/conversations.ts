/**
 * The long counts of layer 5 at a real server, for a quiet machine; needs root.
 *
 *   test/run soak layer5 [conversations, 1000] [kills, 200]   all of them, and what is to be seen between the turns of
 *   50 conversations
 *   test/run soak mixed [conversations, 1000] [at a time, 50]
 *   test/run soak kills [kills, 200]
 *
 * `mixed` runs twice, with `--continue off` and with conversations that go after their time. Exit code 0 when nothing
 * was found.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { killMany } from '../support/kills.ts';
import { allEnded, converse, describeLeft, lookFor, sumOf } from '../support/mixed.ts';
import { startServer } from '../support/server.ts';

const [what, first, second] = process.argv.slice(2);

async function mixed(count: number, parallel: number): Promise<boolean> {
  let clean = true;
  for (const args of [
    ['--continue', 'off', '--idle', '5s'],
    ['--idle', '5s'],
  ]) {
    const server = await startServer({ args });
    try {
      const said = await converse(server, count, parallel);
      await allEnded(server, 30_000);
      const left = await lookFor(server, said);
      console.log(
        `${count} conversations, ${parallel} at a time, ${args.join(' ')}: ${describeLeft(left)}; ${said.hung} hung; ${said.responses.length} ids and ${said.answers.length} answers looked for`,
      );
      console.log(JSON.stringify(said.statuses));
      for (const line of left.seen) console.log(line);
      clean &&= sumOf(left) === 0 && said.hung === 0;
    } finally {
      await server.stop();
    }
  }
  return clean;
}

/** Between the turns of 50 open conversations, and in the middle of one: the test that prints it. */
function between(): boolean {
  const file = join(import.meta.dirname, '..', 'attacks', '5-sessions.test.ts');
  return spawnSync(process.execPath, [...process.execArgv, '--test', file], { stdio: 'inherit' }).status === 0;
}

async function kills(count: number): Promise<boolean> {
  const told = await killMany(count, ({ kills: done, wrong }) => {
    if (done % 20 === 0) console.error(`  ${done} of ${count}, ${wrong.length} not as they must be`);
  });
  console.log(JSON.stringify(told, undefined, 2));
  return told.wrong.length === 0;
}

let clean: boolean;
if (what === 'layer5')
  clean = (await mixed(Number(first ?? 1000), 50)) && between() && (await kills(Number(second ?? 200)));
else if (what === 'mixed') clean = await mixed(Number(first ?? 1000), Number(second ?? 50));
else if (what === 'kills') clean = await kills(Number(first ?? 200));
else throw new Error('usage: test/run soak [layer5|mixed|kills] [count]');
process.exitCode = clean ? 0 : 1;
