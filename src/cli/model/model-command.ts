/**
 * `kwyre model`: inspects models, approves them by signing their manifest, and verifies them.
 *
 * Proof: test/attacks/4-model.test.ts
 * @module
 */
import { basename } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import { formatTrust, modelNamePattern } from '../../layers/4-model/approval.ts';
import type { TrustedKey } from '../../layers/4-model/approval.ts';
import { publicPem } from '../../oms/operator-key.ts';
import { keyIdOf, parsePublicKey } from '../../oms/signature.ts';
import { readModelRecord, removeModelRecord, writeModelTrust } from '../../state/model-records.ts';
import { openState } from '../../state/state-directory.ts';
import { stateDirectory } from '../client.ts';
import { confirm } from '../prompt.ts';
import { readPem } from '../signing-key.ts';
import { list, readTrust, verify } from './approved-models.ts';
import { add } from './model-approval.ts';
import type { Flags } from './model-flags.ts';
import { fault, parseFlags, print, usage } from './model-flags.ts';
import { sign } from './model-signing.ts';

/** Runs `kwyre model ...`. */
export async function model(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args);
  const state = stateDirectory(values.state);
  const [action, subject, ...rest] = positionals;
  if (rest.length > 0) throw usage();
  switch (action) {
    case 'add':
      return await add(required(subject), values, openState(state));
    case 'list':
      return list(values, openState(state));
    case 'verify':
      return await verify(subject, values, openState(state));
    case 'sign':
      return await sign(required(subject), values, openState(state));
    case 'trust':
      return await trust(required(subject), values, openState(state));
    case 'remove':
      return remove(required(subject), values, openState(state));
    default:
      throw usage();
  }
}

/** @throws `USAGE_MODEL` */
function required(subject: string | undefined): string {
  if (subject === undefined) throw usage();
  return subject;
}

/** Trusts a key to approve any model. */
async function trust(path: string, values: Flags, state: string): Promise<number> {
  const key = parsePublicKey(readPem(path), fault);
  const id = keyIdOf(key);
  if (
    values.yes !== true &&
    !(process.stdin.isTTY && (await confirm(`Trust the key ${id} to approve any model here?`)))
  )
    throw new KwyreError(
      'USAGE_MODEL_CONFIRM',
      'trusting a key needs your confirmation',
      'compare its digest with the one that its owner publishes, then add --yes',
    );
  const { trust: known } = readTrust(state);
  const entry: TrustedKey = {
    pem: publicPem(key),
    label: (values.label ?? basename(path)).replace(/[^\x20-\x7e]/g, '?'),
    only: undefined,
    addedAt: new Date().toISOString(),
  };
  writeModelTrust(
    state,
    formatTrust({ ...known, keys: [...known.keys.filter((other) => other.pem !== entry.pem), entry] }),
  );
  print(values, { trusted: id }, `trusted: ${id}`);
  return 0;
}

/** Withdraws the approval of a model. */
function remove(name: string, values: Flags, state: string): number {
  if (!modelNamePattern.test(name) || readModelRecord(state, name) === undefined)
    throw new KwyreError('USAGE_MODEL_UNKNOWN', 'no model of that name is approved', './kwyre model list');
  const { trust: known } = readTrust(state);
  const approved = new Map(known.approved);
  approved.delete(name);
  writeModelTrust(state, formatTrust({ keys: known.keys.filter((key) => key.only !== name), approved }));
  removeModelRecord(state, name);
  print(values, { removed: name }, `${name} is no longer approved; its files are unchanged`);
  return 0;
}
