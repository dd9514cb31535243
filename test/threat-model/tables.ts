/**
 * Generates the tables of `docs/THREAT-MODEL.md` from the claims, the attacks and the titles of the tests.
 * @module
 */
import { basename } from 'node:path';
import { layers, sharedClaims, type Claim } from '../../src/layers/index.ts';
import { attacks } from './attack-table.ts';

export type TestsById = ReadonlyMap<string, readonly string[]>;

const link = (path: string, text: string) => `[${text}](../${path})`;
const sourceLink = (path: string) => link(`src/${path}`, basename(path));
const testLink = (file: string) => link(`test/${file}`, file.replace('.test.ts', ''));

/** Joins ids, shortening runs of three or more: `L2-01 to L2-07, L2-09`. */
export function shortList(ids: readonly string[]): string {
  const runs: string[][] = [];
  for (const id of ids) {
    const run = runs.at(-1);
    const last = run?.at(-1);
    const next = last?.replace(/\d+$/, (digits) => String(Number(digits) + 1).padStart(2, '0'));
    if (run !== undefined && next === id) run.push(id);
    else runs.push([id]);
  }
  return runs.map((run) => (run.length < 3 ? run.join(', ') : `${run[0]} to ${run.at(-1)}`)).join(', ');
}

/** Returns the ids of the attacks that would break a claim. */
export function attacksOn(claim: string): string[] {
  return [...attacks].filter(([, attack]) => attack.claim === claim).map(([id]) => id);
}

/** Returns the test to read first: one whose title names the claim, or else the one with the most attacks on it. */
export function mainTest(claim: string, tests: TestsById): string | undefined {
  const named = tests.get(claim)?.[0];
  if (named !== undefined) return named;
  const counts = new Map<string, number>();
  for (const id of attacksOn(claim))
    for (const file of tests.get(id) ?? []) counts.set(file, (counts.get(file) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}

function claimRow({ id, promise, keptIn, limit }: Claim, tests: TestsById): string {
  const test = mainTest(id, tests);
  const cells = [
    id,
    promise,
    sourceLink(keptIn),
    shortList(attacksOn(id)),
    test === undefined ? 'none' : testLink(test),
    limit,
  ];
  return `| ${cells.join(' | ')} |`;
}

function section(claims: readonly Claim[], prefix: string, tests: TestsById): string[] {
  const rows = [...attacks].filter(([id]) => id.startsWith(`${prefix}-`));
  return [
    '| claim | promise | kept in | attacks | test | limit |',
    '|---|---|---|---|---|---|',
    ...claims.map((claim) => claimRow(claim, tests)),
    '',
    '| attack | claim | outcome | tests |',
    '|---|---|---|---|',
    ...rows.map(([id, { claim, outcome, untested }]) => {
      const files = tests.get(id) ?? [];
      return `| ${id} | ${claim} | ${outcome} | ${untested ?? files.map(testLink).join(', ')} |`;
    }),
  ];
}

/** Returns the generated parts of the document, by the name in their first line. */
function parts(tests: TestsById): ReadonlyMap<string, readonly string[]> {
  return new Map([
    ['all layers', section(sharedClaims, 'X', tests)],
    ...layers.map(({ number, name, promise, status, claims }): [string, string[]] => [
      `layer ${number}`,
      [
        `## Layer ${number}: ${name}`,
        '',
        promise,
        `Status check: ${sourceLink(status)}.`,
        '',
        ...section(claims, `L${number}`, tests),
      ],
    ]),
  ]);
}

/**
 * @returns the document with every generated part rewritten
 * @throws if a part is missing from the document
 */
export function rewrite(document: string, tests: TestsById): string {
  let text = document;
  for (const [name, lines] of parts(tests)) {
    const begin = `<!-- made by npm run threat-model: ${name} -->\n`;
    const end = '\n<!-- end -->';
    const at = text.indexOf(begin);
    const until = text.indexOf(end, at);
    if (at < 0 || until < 0) throw new Error(`docs/THREAT-MODEL.md has no part "${name}"`);
    text = `${text.slice(0, at)}${begin}\n${lines.join('\n')}\n${text.slice(until)}`;
  }
  return text;
}
