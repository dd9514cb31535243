/**
 * What one attempt of `kwyre prove` showed, and what follows for the exit code. Pure.
 *
 * Promise: only an attempt that was really made and refused is `held`; what could not be tried is never taken for it.
 * Proof:   test/unit/cli/attempt.test.ts, test/e2e/prove.test.ts
 * @module
 */

/** Layers that have attempts today. */
export const provenLayers = [1, 2, 5] as const;
export type ProvenLayer = (typeof provenLayers)[number];

/** `held`: refused as expected; `breached`: it got through; `not-proved`: it could not be tried. */
export type Verdict = 'held' | 'breached' | 'not-proved';

export type Proof = {
  readonly layer: ProvenLayer;
  /** Ids of the list of attacks; empty where it has none. */
  readonly ids: string;
  readonly attempt: string;
  /** Where it was tried: a role, or `server`. */
  readonly where: string;
  readonly expected: string;
  readonly got: string;
  readonly verdict: Verdict;
};

/** 10+N for the lowest layer that was breached, 1 when something could not be tried, 0 when everything was held. */
export function exitCodeOf(proofs: readonly Proof[]): number {
  const breached = proofs.filter((proof) => proof.verdict === 'breached').map((proof) => proof.layer);
  if (breached.length > 0) return 10 + Math.min(...breached);
  return proofs.length > 0 && proofs.every((proof) => proof.verdict === 'held') ? 0 : 1;
}

const marks: Readonly<Record<Verdict, string>> = {
  held: 'held      ',
  breached: 'BREACHED  ',
  'not-proved': 'NOT PROVED',
};

const worstFirst: readonly Verdict[] = ['breached', 'not-proved', 'held'];

/** One attempt in two lines, wherever it was tried: what was tried, then what was expected and what came. */
export function proofLines(group: readonly Proof[]): string {
  const [first] = group;
  if (first === undefined) return '';
  const verdict = worstFirst.find((one) => group.some((proof) => proof.verdict === one)) ?? 'not-proved';
  const got = [...new Set(group.map((proof) => proof.got))];
  const where = group.map((proof) => proof.where).join(', ');
  const came = got.length === 1 ? (got[0] ?? '') : group.map((proof) => `${proof.where}: ${proof.got}`).join('; ');
  return `${marks[verdict]}  ${first.attempt}${where === 'server' ? '' : `, in ${where}`}${first.ids === '' ? '' : `  [${first.ids}]`}\n            expected: ${first.expected}; got: ${came}`;
}

/** Proofs of the same attempt together, in the order of their first. */
export function groupProofs(proofs: readonly Proof[]): Proof[][] {
  const groups = new Map<string, Proof[]>();
  for (const proof of proofs) {
    const key = `${proof.ids} ${proof.attempt}`;
    groups.set(key, [...(groups.get(key) ?? []), proof]);
  }
  return [...groups.values()];
}

/** The last line, for people. */
export function summaryLine(proofs: readonly Proof[]): string {
  const count = (verdict: Verdict): number => proofs.filter((proof) => proof.verdict === verdict).length;
  const parts = [`${count('held')} of ${proofs.length} attempts were held`];
  if (count('breached') > 0) parts.push(`${count('breached')} got through`);
  if (count('not-proved') > 0) parts.push(`${count('not-proved')} could not be tried and are NOT PROVED`);
  return parts.join(', ');
}
