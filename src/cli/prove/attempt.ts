/**
 * The results of the attempts of `kwyre prove`, their text, and the exit code. Pure.
 *
 * Promise: an attempt counts as `held` only if it was made and refused, never if it could not be made.
 * Proof:   test/unit/cli/attempt.test.ts, test/e2e/prove.test.ts
 * @module
 */

/** The layers on which attempts are made. */
export const provenLayers = [1, 2, 5] as const;
export type ProvenLayer = (typeof provenLayers)[number];

/** `held`: the attempt was refused; `breached`: it got through; `not-proved`: it could not be made. @internal */
export type Verdict = 'held' | 'breached' | 'not-proved';

export type Proof = {
  readonly layer: ProvenLayer;
  /** Attack ids from the threat model; empty for a control. */
  readonly ids: string;
  readonly attempt: string;
  /** Where the attempt was made: a role, or `server`. */
  readonly where: string;
  readonly expected: string;
  readonly got: string;
  readonly verdict: Verdict;
};

/** Returns 10+N for the lowest breached layer N, 1 if an attempt could not be made, and 0 if all were held. */
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

/** Formats the results of one attempt, in all the places where it was made, as two lines. */
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

/** Groups the proofs of the same attempt, in the order in which the attempts first appear. */
export function groupProofs(proofs: readonly Proof[]): Proof[][] {
  const groups = new Map<string, Proof[]>();
  for (const proof of proofs) {
    const key = `${proof.ids} ${proof.attempt}`;
    groups.set(key, [...(groups.get(key) ?? []), proof]);
  }
  return [...groups.values()];
}

/** Returns the last line of the output. */
export function summaryLine(proofs: readonly Proof[]): string {
  const count = (verdict: Verdict): number => proofs.filter((proof) => proof.verdict === verdict).length;
  const parts = [`the defences held against ${count('held')} of ${proofs.length} attempts`];
  if (count('breached') > 0) parts.push(`${count('breached')} got through`);
  if (count('not-proved') > 0) parts.push(`${count('not-proved')} NOT PROVED`);
  return parts.join('; ');
}
