/**
 * Resolves the operator's choice of model to a verified one: the embedded guide, or a model that was added.
 *
 * Promise: a path or name that was not approved is refused (exit code 14). No flag skips this check.
 * Proof:   test/unit/layers/4-model-resolver.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import type { Check } from '../../base/verdict.ts';
import { guideModel, guideName } from '../../layers/4-model/guide-digest.ts';
import { approveRecord, emptyTrust, modelNamePattern, parseRecord, parseTrust } from '../../layers/4-model/approval.ts';
import type { ModelRecord } from '../../layers/4-model/approval.ts';
import type { ApprovedModel, VerifiedModel } from '../../layers/4-model/model-verifier.ts';
import { verifyModel } from '../../layers/4-model/model-verifier.ts';
import type { WeightsMode } from '../../layers/4-model/immutable-weights.ts';
import { faultsOf } from '../../oms/verification-error.ts';
import { pathChecks } from '../../layers/4-model/status.ts';
import { listModelRecords, readModelRecord, readModelTrust } from '../../state/model-records.ts';

/** A verified model; its descriptors stay open while it is served. */
export type OpenModel = {
  readonly name: string;
  /** Paths of its files. */
  readonly paths: readonly string[];
  /** Descriptors of the weight files, one per file, in order. */
  readonly fds: readonly [number, ...number[]];
  /** Total size of all files. */
  readonly bytes: number;
  readonly createdSeconds: number;
  readonly verified: VerifiedModel;
  /** Checks for layer 4's report. */
  readonly checks: readonly Check[];
};

/** The model to open, and how to open it. */
type ModelRequest = {
  /** A name, a path, or `undefined` for the embedded guide. */
  readonly wanted: string | undefined;
  /** Root of this installation. */
  readonly root: string;
  readonly state: string;
  readonly weights: WeightsMode | 'auto';
  readonly progress?: (doneBytes: number) => void;
};

const recordFault = faultsOf(
  4,
  'remove the model and add it again: ./kwyre model remove NAME, then ./kwyre model add PATH',
);

/** Finds the record of a model by its name, or by the path from which it was added. */
function findRecord(wanted: string, state: string): ModelRecord | undefined {
  if (modelNamePattern.test(wanted)) {
    const text = readModelRecord(state, wanted);
    if (text !== undefined) return parseRecord(text, recordFault);
  }
  const path = resolve(wanted);
  return listModelRecords(state)
    .map((name) => parseRecord(readModelRecord(state, name) ?? '', recordFault))
    .find(
      (record) =>
        record.path === path ||
        (record.path === dirname(path) && record.bundle.length > 0 && approvesFile(record, basename(path), state)),
    );
}

function trustOf(state: string) {
  const { text, sameOwner } = readModelTrust(state);
  return { trust: text === undefined ? emptyTrust : parseTrust(text, recordFault), sameOwner };
}

function approvesFile(record: ModelRecord, file: string, state: string): boolean {
  const { trust, sameOwner } = trustOf(state);
  return approveRecord(record, trust, new Date(), sameOwner).weights[0] === file;
}

/**
 * Returns the approved model for a name or path.
 * @throws `L4_MODEL_UNAPPROVED`, and the errors that `approveRecord` throws
 * @internal
 */
export function findApproved(wanted: string | undefined, root: string, state: string): ApprovedModel {
  if (wanted === undefined || wanted === guideName) return guideModel(root);
  const record = findRecord(wanted, state);
  if (record === undefined)
    throw new KwyreError(
      'L4_MODEL_UNAPPROVED',
      `the model ${wanted} is not approved`,
      `approve it with ./kwyre model add ${wanted}; ./kwyre model list shows the approved ones`,
    );
  const { trust, sameOwner } = trustOf(state);
  return approveRecord(record, trust, new Date(), sameOwner);
}

/**
 * Verifies every byte of a model and opens it.
 * @throws `L4_*`
 */
export async function openApprovedModel(wish: ModelRequest): Promise<OpenModel> {
  const approved = findApproved(wish.wanted, wish.root, wish.state);
  const verified = await verifyModel(approved, {
    disk: fs,
    mode: wish.weights,
    availableBytes: process.availableMemory(),
    now: () => performance.now() + performance.timeOrigin,
    ...(wish.progress === undefined ? {} : { progress: wish.progress }),
  });
  const [first, ...others] = verified.weights;
  const bytes = verified.weights.reduce((sum, part) => sum + part.bytes, 0);
  const paths = approved.weights.map((name) => join(approved.root, name));
  const checks = [...verified.checks, ...(verified.mode === 'file' ? pathChecks(paths, process.getuid?.() ?? 0) : [])];
  return {
    name: approved.name,
    paths,
    checks,
    fds: [first.fd, ...others.map(({ fd }) => fd)],
    bytes,
    createdSeconds: first.createdSeconds,
    verified,
  };
}
