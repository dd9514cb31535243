/**
 * The result of one attempt of `kwyre prove`, its text, and the exit code. Pure.
 *
 * Promise: an attempt is `held` only if it was made and refused. One that could not be made is never `held`.
 * Proof:   test/unit/cli/attempt.test.ts, test/e2e/prove.test.ts
 * @module
 */

/** Layers that have attempts. */
export const provenLayers = [1, 2, 5] as const;
export type ProvenLayer = (typeof provenLayers)[number];

/** `held`: the attempt was refused; `breached`: it got through; `not-proved`: it could not be made. @internal */
export type Verdict = 'held' | 'breached' | 'not-proved';

export type Proof = {
  readonly layer: ProvenLayer;
  /** Ids of the threat model; empty for a control. */
  readonly ids: string;
  readonly attempt: string;
  /** Where it was made: a role, or `server`. */
  readonly where: string;
  readonly expected: string;
  readonly got: string;
  readonly verdict: Verdict;
};

/** 10+N for the lowest layer N that was breached; 1 if an attempt could not be made; 0 if all were held. */
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

/** The results of one attempt, in all the places where it was made, as two lines. */
export function proofLines(group: readonly Proof[]): string {
  const [first] = group;
  if (first === undefined) return '';
  const verdict = worstFirst.find((one) => group.some((proof) => proof.verdict === one)) ?? 'not-proved';
  const got = [...new Set(group.map((proof) => proof.got))];
  const where = group.map((proof) => proof.where).join(', ');
  const results = got.length === 1 ? (got[0] ?? '') : group.map((proof) => `${proof.where}: ${proof.got}`).join('; ');
  const ids = first.ids === '' ? '' : `  [${first.ids}]`;
  const title = `${first.attempt}${where === 'server' ? '' : `, in ${where}`}${ids}`;
  return `${marks[verdict]}  ${title}\n            expected: ${first.expected}; got: ${results}`;
}

/** Groups the proofs of the same attempt, in the order of their first. */
export function groupProofs(proofs: readonly Proof[]): Proof[][] {
  const groups = new Map<string, Proof[]>();
  for (const proof of proofs) {
    const key = `${proof.ids} ${proof.attempt}`;
    groups.set(key, [...(groups.get(key) ?? []), proof]);
  }
  return [...groups.values()];
}

/** The last line of the output. */
export function summaryLine(proofs: readonly Proof[]): string {
  const count = (verdict: Verdict): number => proofs.filter((proof) => proof.verdict === verdict).length;
  const parts = [`the defences held against ${count('held')} of ${proofs.length} attempts`];
  if (count('breached') > 0) parts.push(`${count('breached')} got through`);
  if (count('not-proved') > 0) parts.push(`${count('not-proved')} NOT PROVED`);
  return parts.join('; ');
}
