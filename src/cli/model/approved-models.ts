/**
 * Lists and verifies the approved models: `kwyre model list` and `kwyre model verify`.
 *
 * Proof: test/attacks/4-model.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import { guideModel, guideName } from '../../layers/4-model/guide-digest.ts';
import { approveRecord, emptyTrust, modelNamePattern, parseRecord, parseTrust } from '../../layers/4-model/approval.ts';
import type { ModelTrust } from '../../layers/4-model/approval.ts';
import type { ApprovedModel } from '../../layers/4-model/model-verifier.ts';
import { verifyModel } from '../../layers/4-model/model-verifier.ts';
import { DifferenceError } from '../../oms/verification-error.ts';
import { listModelRecords, readModelRecord, readModelTrust } from '../../state/model-records.ts';
import type { Flags } from './model-flags.ts';
import { countFiles, fault, print, progress, usage } from './model-flags.ts';

/** Reads the trust file in force and determines whether it belongs to the calling user. */
export function readTrust(state: string): { trust: ModelTrust; sameOwner: boolean } {
  const found = readModelTrust(state);
  return { trust: found.text === undefined ? emptyTrust : parseTrust(found.text, fault), sameOwner: found.sameOwner };
}

/**
 * Returns a loader for the named model, or one for each model with the guide first. A loader throws if its record is
 * not approved.
 */
function findModels(only: string | undefined, state: string): (() => ApprovedModel)[] {
  const { trust: known, sameOwner } = readTrust(state);
  const load = (name: string) => () => {
    const found = readModelRecord(state, name);
    if (found === undefined)
      throw new KwyreError(
        'L4_MODEL_UNAPPROVED',
        `the model ${name} is not approved`,
        './kwyre model list shows the approved models',
      );
    return approveRecord(parseRecord(found, fault), known, new Date(), sameOwner);
  };
  if (only !== undefined && only !== guideName && !modelNamePattern.test(only)) throw usage();
  if (only !== undefined) return [only === guideName ? () => guideModel(root) : load(only)];
  return [() => guideModel(root), ...listModelRecords(state).map(load)];
}

/** Prints every approved model. */
export function list(values: Flags, state: string): number {
  const rows = findModels(undefined, state).map((load, index) => {
    try {
      const found = load();
      return { name: found.name, path: found.root, files: found.files.length, signer: found.signer, fault: null };
    } catch (error) {
      if (!(error instanceof KwyreError)) throw error;
      return {
        name: listModelRecords(state)[index - 1] ?? guideName,
        path: null,
        files: 0,
        signer: null,
        fault: error.code,
      };
    }
  });
  print(
    values,
    { models: rows },
    rows
      .map((row) =>
        row.fault === null
          ? `${row.name}  ${countFiles(row.files)} in ${row.path}; ${row.signer}`
          : `${row.name}  refused: ${row.fault}`,
      )
      .join('\n'),
  );
  return 0;
}

/** Hashes the files of one model or of all models. @returns 14 if any of them differs, otherwise 0 */
export async function verify(only: string | undefined, values: Flags, state: string): Promise<number> {
  const verified: Record<string, unknown>[] = [];
  const refused: Record<string, unknown>[] = [];
  for (const load of findModels(only, state)) {
    try {
      const approved = load();
      const report = progress(approved.files.reduce((sum, file) => sum + (file.size ?? 0), 0));
      const { name, evidence, weights } = await verifyModel(approved, {
        disk: fs,
        mode: 'file',
        availableBytes: 0,
        now: Date.now,
        ...(report === undefined ? {} : { progress: report }),
      });
      for (const { fd } of weights) fs.closeSync(fd);
      verified.push({ name, ...evidence });
      if (values.json !== true)
        console.log(
          `${name}: every byte matches the approval (${countFiles(evidence.files)}, ${evidence.bytes} bytes, ` +
            `${evidence.seconds.toFixed(2)} s); ${evidence.signer}`,
        );
    } catch (error) {
      if (!(error instanceof KwyreError)) throw error;
      refused.push({
        code: error.code,
        message: error.message,
        differences: error instanceof DifferenceError ? error.differences : [],
      });
      if (values.json !== true) console.error(`kwyre: ${error.message}\n  next: ${error.remedy}`);
    }
  }
  if (values.json === true) console.log(JSON.stringify({ verified, refused }));
  return refused.length === 0 ? 0 : 14;
}
