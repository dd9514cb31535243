/**
 * Detects that the model file was written to, or that its times changed, after it was loaded.
 *
 * Limits:  the file is examined through the descriptor that the engine also has, so a file put in its place does not
 *          matter. A change to only its mode, owner or links is noted, but does not count as a detection.
 * Source:  inode(7)
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import type { Detection, Finding } from '../finding.ts';
import { fullVisibility } from '../finding.ts';

/** Attributes of a file that change when it is written to. `leased`: no process has it open for writing. */
export type FileStamp = {
  readonly size: bigint;
  readonly modifiedNs: bigint;
  readonly changedNs: bigint;
  readonly leased: boolean;
};

const unseen: Detection = {
  detector: 'weights',
  seen: 'unreadable',
  reason: 'the model file cannot be examined',
  findings: [],
};

/** Compares a file with its state when it was loaded. @internal */
export function detectWeights(
  loaded: FileStamp,
  now: FileStamp | undefined,
  owner: { readonly pid: number; readonly uid: number },
): Detection {
  if (now === undefined) return unseen;
  const finding = (relation: Finding['relation'], what: string): Finding => ({
    detector: 'weights',
    relation,
    pid: owner.pid,
    uid: owner.uid,
    name: 'kwyre supervisor',
    what,
  });
  if (loaded.size !== now.size || loaded.modifiedNs !== now.modifiedNs)
    return {
      detector: 'weights',
      ...fullVisibility,
      findings: [finding('effect', 'the model file was written to while it was being served')],
    };
  if (loaded.leased && !now.leased)
    return {
      detector: 'weights',
      ...fullVisibility,
      findings: [finding('effect', 'another process opened the model file for writing')],
    };
  if (loaded.changedNs !== now.changedNs)
    return {
      detector: 'weights',
      ...fullVisibility,
      findings: [finding('stranger', 'mode, owner, links or times of the model file changed')],
    };
  return { detector: 'weights', ...fullVisibility, findings: [] };
}

/** Compares all files of a model with their state when they were loaded. */
export function detectAllWeights(
  loaded: readonly (FileStamp | undefined)[],
  now: readonly (FileStamp | undefined)[],
  owner: { readonly pid: number; readonly uid: number },
): Detection {
  const each = loaded.map((stamp, index) => (stamp === undefined ? unseen : detectWeights(stamp, now[index], owner)));
  return {
    ...(each.find(({ seen }) => seen !== 'full') ?? { detector: 'weights', ...fullVisibility }),
    findings: each.flatMap(({ findings }) => findings),
  };
}
