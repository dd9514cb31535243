/**
 * The long counts of layer 5 at a real server, for a quiet machine; needs root.
 *
 *   test/run soak mixed [conversations, 1000] [at a time, 50]
 *   test/run soak kills [kills, 200]
 *
 * `mixed` runs twice, with `--continue off` and with conversations that go after their time. Exit code 0 when nothing was found.
 * @module
 */
import { killMany } from '../support/kills.ts';
import { allEnded, converse, describeLeft, lookFor, sumOf } from '../support/mixed.ts';
import { startServer } from '../support/server.ts';

const [what, first, second] = process.argv.slice(2);

async function mixed(count: number, parallel: number): Promise<boolean> {
  let clean = true;
  for (const args of [['--continue', 'off', '--idle', '5s'], ['--idle', '5s']]) {
    const server = await startServer({ args });
    try {
      const said = await converse(server, count, parallel);
      await allEnded(server, 30_000);
      const left = await lookFor(server, said);
      console.log(`${count} conversations, ${parallel} at a time, ${args.join(' ')}: ${describeLeft(left)}; ${said.hung} hung; ${said.responses.length} ids and ${said.answers.length} answers looked for`);
      console.log(JSON.stringify(said.statuses));
      for (const line of left.seen) console.log(line);
      clean &&= sumOf(left) === 0 && said.hung === 0;
    } finally {
      await server.stop();
    }
  }
  return clean;
}

async function kills(count: number): Promise<boolean> {
  const told = await killMany(count, ({ kills: done, wrong }) => {
    if (done % 20 === 0) console.error(`  ${done} of ${count}, ${wrong.length} not as they must be`);
  });
  console.log(JSON.stringify(told, undefined, 2));
  return told.wrong.length === 0;
}

let clean: boolean;
if (what === 'mixed') clean = await mixed(Number(first ?? 1000), Number(second ?? 50));
else if (what === 'kills') clean = await kills(Number(first ?? 200));
else throw new Error('usage: test/run soak [mixed|kills] [count]');
process.exitCode = clean ? 0 : 1;
