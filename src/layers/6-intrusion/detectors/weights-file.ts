/**
 * The model's file after it was loaded: written to, or its times put back.
 *
 * Limits:  it is looked at through the descriptor that the engine has too, so a file put in its place is no matter;
 *          a change of its mode, owner or links alone is noted, not counted.
 * Source:  inode(7)
 * Proof:   test/unit/layers/6-all-detectors.test.ts
 * @module
 */
import type { Detection, Finding } from '../finding.ts';
import { fullVisibility } from '../finding.ts';

/** The marks of a file that change when it is written to; `leased`: nobody has it open for writing. */
export type FileStamp = {
  readonly size: bigint;
  readonly modifiedNs: bigint;
  readonly changedNs: bigint;
  readonly leased: boolean;
};

const unseen: Detection = {
  detector: 'weights',
  seen: 'unreadable',
  reason: 'the model cannot be looked at',
  findings: [],
};

/** A difference between the file as loaded and the file now. */
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
      findings: [finding('effect', 'the file of the model was written to while it is served')],
    };
  if (loaded.leased && !now.leased)
    return {
      detector: 'weights',
      ...fullVisibility,
      findings: [finding('effect', 'another process opened the file of the model for writing')],
    };
  if (loaded.changedNs !== now.changedNs)
    return {
      detector: 'weights',
      ...fullVisibility,
      findings: [finding('stranger', 'mode, owner, links or times of the model file were changed')],
    };
  return { detector: 'weights', ...fullVisibility, findings: [] };
}

/** The same for all files of a model. */
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
