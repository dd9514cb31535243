/**
 * `kwyre model add`: shows a model, asks for confirmation, and approves the model by signing its manifest.
 *
 * The approval is signed with the key from `--key FILE`, or else with the operator key (created by `./kwyre deps
 * seal`). If there is neither, a new key signs the approval and is then discarded, so that nothing else can be signed
 * with it.
 *
 * Proof: test/attacks/4-model.test.ts, test/attacks/4-content.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { basename } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import { guideName } from '../../layers/4-model/guide-digest.ts';
import { formatRecord, formatTrust, modelNamePattern, roles, signatureNames } from '../../layers/4-model/approval.ts';
import type { TrustedKey } from '../../layers/4-model/approval.ts';
import { parseBundle } from '../../oms/bundle.ts';
import { publicPem } from '../../oms/operator-key.ts';
import { keyIdOf } from '../../oms/signature.ts';
import type { SigningRequest } from '../../oms/signer.ts';
import { hashFiles, signFiles } from '../../oms/signer.ts';
import { parseStatement } from '../../oms/statement.ts';
import { readModelRecord, writeModelRecord, writeModelTrust } from '../../state/model-records.ts';
import { confirm } from '../prompt.ts';
import { readTrust } from './approved-models.ts';
import type { InspectedModel } from './inspect.ts';
import { inspectModel } from './inspect.ts';
import type { Flags } from './model-flags.ts';
import { countFiles, fault, methodOf, print, progress } from './model-flags.ts';
import { chooseKey } from './model-signing.ts';
import { excludedFiles, rights } from './upstream-signature.ts';

const { createPublicKey } = process.getBuiltinModule('node:crypto');

/** Describes the model for human readers, one fact per line. */
function describe(model: InspectedModel, name: string): string {
  const { facts } = model;
  const size = (bytes: number) => (bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);
  const template =
    model.templateDigest === undefined ? 'none' : `sha256:${model.templateDigest}, ${facts.template.length} characters`;
  const lines = [
    `model        ${name}${facts.name === '' ? '' : ` (its metadata says "${facts.name}")`}`,
    `folder       ${model.root}${model.wholeFolder ? '' : ' (only the weights)'}`,
    `files        ${model.files.length}, ${size(model.bytes)}`,
    `weights      ${model.weights.join(', ')}`,
    `architecture ${facts.architecture}, ${(facts.parameters / 1e6).toFixed(1)} million parameters, ` +
      `${((model.bytes * 8) / Math.max(1, facts.parameters)).toFixed(1)} bits each`,
    `quantised    ${facts.quantisation}`,
    `tokenizer    ${facts.tokenizer}, vocabulary ${facts.vocabulary}`,
    `context      ${facts.contextTokens} tokens`,
    `template     ${template}`,
    `upstream     ${model.upstream}`,
    ...model.unusual.map((entry) => `unusual      ${entry}`),
  ];
  // Names in a model file are untrusted.
  return lines.join('\n').replace(/[^\n\x20-\x7e]/g, '?');
}

/** Returns the model's facts for `--json`. */
function factsOf({ facts }: InspectedModel) {
  const { architecture, parameters, quantisation, tokenizer, vocabulary, contextTokens } = facts;
  return { architecture, parameters, quantisation, tokenizer, vocabulary, context: contextTokens };
}

/** Approves the model at a path. @returns the exit code: 1 if the user declines */
export async function add(path: string, values: Flags, state: string): Promise<number> {
  const maker = {
    key: values['upstream-key'],
    root: values['upstream-root'],
    identity: values['upstream-identity'],
    issuer: values['upstream-issuer'],
  };
  const model = await inspectModel(path, values.weights, maker, fault);
  const guess = basename(model.wholeFolder ? model.root : (model.weights[0] ?? '')).replace(
    /(-\d{5}-of-\d{5})?\.gguf$/i,
    '',
  );
  const name =
    values.name ??
    guess
      .replace(/[^A-Za-z0-9._-]/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
      .slice(0, 64);
  if (!modelNamePattern.test(name) || name === guideName)
    throw new KwyreError(
      'USAGE_MODEL_NAME',
      'the model needs a name of letters, digits, dots, dashes and underscores, other than guide',
      'choose one with --name NAME',
    );
  const before = readModelRecord(state, name);
  if (values.json !== true) console.error(describe(model, name));
  if (values.yes !== true) {
    if (!process.stdin.isTTY)
      throw new KwyreError(
        'USAGE_MODEL_CONFIRM',
        'approving a model needs your confirmation',
        'run the command in a terminal, or inspect the model and add --yes',
      );
    if (
      !(await confirm(
        before === undefined ? 'Approve exactly these files?' : `Replace ${name} and approve exactly these files?`,
      ))
    )
      return 1;
  }
  const method = methodOf(values, model.bytes);
  const report = progress(model.bytes);
  const order: SigningRequest = {
    disk: fs,
    layer: 4,
    root: model.root,
    only: model.files,
    excluded: excludedFiles,
    rights,
    name,
    method,
    ...(report === undefined ? {} : { progress: report }),
  };
  const role = model.wholeFolder ? roles.weights : roles.weightsAlone;
  const files = hashFiles(order, fault).map((file) => (model.weights.includes(file.name) ? { ...file, role } : file));
  const { key, kind } = await chooseKey(values, state);
  const bundle = Buffer.from(signFiles(order, files, key, fault), 'utf8');
  const statement = parseStatement(parseBundle(bundle, fault).payload, { allowedIgnores: signatureNames }, fault);
  const addedAt = new Date().toISOString();
  const publicKey = publicPem(key);
  const { trust: known } = readTrust(state);
  const others = known.keys.filter((entry) => entry.pem !== publicKey && entry.only !== name);
  const labels = {
    file: 'a key file of the operator',
    operator: 'the operator key',
    once: 'a new key, used only for this approval',
  };
  const trusted: TrustedKey = {
    pem: publicKey,
    label: labels[kind],
    only: kind === 'once' ? name : undefined,
    addedAt,
  };
  writeModelTrust(
    state,
    formatTrust({ keys: [...others, trusted], approved: new Map([...known.approved, [name, statement.root]]) }),
  );
  writeModelRecord(state, name, formatRecord({ name, path: model.root, addedAt, bundle }));
  print(
    values,
    {
      name,
      path: model.root,
      files: files.length,
      bytes: model.bytes,
      ...factsOf(model),
      root: statement.root,
      key: keyIdOf(createPublicKey(key)),
      signedBy: kind,
      template: model.templateDigest ?? null,
      unusual: model.unusual,
      upstream: model.upstream,
    },
    `approved: ${name}, ${countFiles(files.length)}, root sha256:${statement.root}, signed by ` +
      `${labels[kind]}\nserve it with ./kwyre serve --model ${name}`,
  );
  return 0;
}
