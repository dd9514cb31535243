/**
 * The digest of the embedded guide model, as a constant in this program. Updated by `npm run guide:digest`.
 * @module
 */
import { join } from 'node:path';
import type { ApprovedModel } from './model-verifier.ts';

/** Name of the embedded model. */
export const guideName = 'guide';

/** The file of the embedded model. */
export const guideFile = {
  name: 'guide.gguf',
  bytes: 2878208,
  sha256: 'd0025f97f38c0bd54adbe698c8d85ba39eaceb248bed58fe00f0b2a65f054ae5',
} as const;

/** Returns the embedded model in the installation at `root`. */
export function guideModel(root: string): ApprovedModel {
  return {
    name: guideName,
    root: join(root, 'models', 'guide'),
    files: [
      {
        name: guideFile.name,
        digest: guideFile.sha256,
        shards: [],
        size: guideFile.bytes,
        executable: undefined,
        package: undefined,
        role: 'weights',
      },
    ],
    shardBytes: undefined,
    weights: [guideFile.name],
    wholeFolder: false,
    excluded: new Set(),
    signer: 'the digest is a constant of this program',
    trust: 'constant',
    remedy: 'restore the file: git checkout -- models/guide/guide.gguf',
  };
}
