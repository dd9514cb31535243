/**
 * From what the operator asked to serve to a verified model: the embedded guide, or a model that was added.
 *
 * Promise: a path or name that nobody approved is refused (exit 14); there is no flag that skips this.
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

/** A verified model as the supervisor hands it on; its descriptors stay open for as long as it is served. */
export type OpenModel = {
  readonly name: string;
  /** Where the files lie. */
  readonly paths: readonly string[];
  /** One for each file of the weights, in order. */
  readonly fds: readonly [number, ...number[]];
  /** All of them together. */
  readonly bytes: number;
  readonly createdSeconds: number;
  readonly verified: VerifiedModel;
  /** Lines of `GET /kwyre/status`. */
  readonly checks: readonly Check[];
};

/** What is asked for. */
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

/** The record of a name, or of a path that was added. */
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

/** What was approved under a name or path. @throws `L4_MODEL_UNAPPROVED` and what `approveRecord` throws @internal */
export function findApproved(wanted: string | undefined, root: string, state: string): ApprovedModel {
  if (wanted === undefined || wanted === guideName) return guideModel(root);
  const record = findRecord(wanted, state);
  if (record === undefined)
    throw new KwyreError(
      'L4_MODEL_UNAPPROVED',
      `the model ${wanted} was never approved here`,
      `look at it and approve it with ./kwyre model add ${wanted}; ./kwyre model list shows what there is`,
    );
  const { trust, sameOwner } = trustOf(state);
  return approveRecord(record, trust, new Date(), sameOwner);
}

/**
 * Verifies every byte of the model that was asked for and opens it.
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
